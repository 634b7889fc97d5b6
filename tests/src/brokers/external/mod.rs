pub(crate) mod amqtt;
pub(crate) mod rabbitmq;
