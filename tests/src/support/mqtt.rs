//! A device that speaks MQTT 3.1.1 or MQTT 5 to a broker, by the client library rumqttc.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Publish, QoS,
    SubscribeReasonCode,
};

use crate::support::device::Device;
use crate::support::{TEST_TIMEOUT, within_timeout};

pub(crate) struct Client {
    client: AsyncClient,
    events: EventLoop,
    /// Messages that arrived while something else was awaited.
    received: VecDeque<Publish>,
}

/// Response of the broker to a PUBLISH or SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    Accepted,
    Rejected,
    /// The broker closed the connection.
    Disconnected,
}

impl Client {
    /// Connects; the return code of the CONNACK if the broker rejects the client.
    pub(crate) async fn connect(port: u16, device: &Device) -> Result<Self, ConnectReturnCode> {
        let mut options = MqttOptions::new(&device.client_id, "127.0.0.1", port);
        options.set_credentials(&device.username, &device.password).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 16);
        events.network_options.set_connection_timeout(TEST_TIMEOUT.as_secs());
        let mut connected = Self { client, events, received: VecDeque::new() };
        loop {
            match connected.event().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => return Ok(connected),
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(code),
                Err(error) => panic!("neither accepted nor rejected: {error}"),
            }
        }
    }

    /// Publishes and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> Ack {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        loop {
            match self.event().await {
                Ok(Event::Incoming(Incoming::PubAck(_))) => return Ack::Accepted,
                Ok(_) => {}
                Err(_) => return Ack::Disconnected,
            }
        }
    }

    /// Subscribes and waits for the acknowledgement.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> Ack {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        loop {
            match self.event().await {
                Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                    let is_rejected = ack.return_codes.contains(&SubscribeReasonCode::Failure);
                    return if is_rejected { Ack::Rejected } else { Ack::Accepted };
                }
                Ok(_) => {}
                Err(_) => return Ack::Disconnected,
            }
        }
    }

    /// The topic and the text of the next message.
    pub(crate) async fn receive(&mut self) -> (String, String) {
        loop {
            if let Some(message) = self.received.pop_front() {
                return (message.topic, String::from_utf8(message.payload.to_vec()).unwrap());
            }
            self.event().await.unwrap();
        }
    }

    /// The next event. Messages are kept, because one can arrive before an awaited acknowledgement.
    async fn event(&mut self) -> Result<Event, ConnectionError> {
        let event = within_timeout("an MQTT event", self.events.poll()).await;
        if let Ok(Event::Incoming(Incoming::Publish(message))) = &event {
            self.received.push_back(message.clone());
        }
        event
    }
}

/// MQTT 5.
pub(crate) mod v5 {
    use std::time::Duration;

    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};
    use rumqttc::v5::{AsyncClient, ConnectionError, Event, MqttOptions};

    use crate::support::device::Device;
    use crate::support::{TEST_TIMEOUT, within_timeout};

    /// Connects, subscribes to a topic and publishes to it: the message received, or the return code of a rejection.
    pub(crate) async fn exchange(
        port: u16,
        device: &Device,
        topic: &str,
        payload: &str,
    ) -> Result<(String, String), ConnectReturnCode> {
        let mut options = MqttOptions::new(&device.client_id, "127.0.0.1", port);
        options.set_credentials(&device.username, &device.password).set_keep_alive(Duration::from_secs(60));
        options.set_connection_timeout(TEST_TIMEOUT.as_secs());
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        loop {
            match within_timeout("an MQTT event", events.poll()).await {
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    client.publish(topic, QoS::AtLeastOnce, false, payload.to_owned()).await.unwrap();
                }
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    return Ok((text(&message.topic), text(&message.payload)));
                }
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(code),
                Err(error) => panic!("neither accepted nor rejected: {error}"),
            }
        }
    }
}
