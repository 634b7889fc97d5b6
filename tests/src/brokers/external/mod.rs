//! Tests with real brokers.

mod amqtt;
mod rabbitmq;
