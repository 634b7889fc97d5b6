//! A device as it connects to a broker: MQTT 3.1.1, and as much of MQTT 5 as tests need, by a client that everybody uses.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::time::timeout;

use crate::support::child::PATIENCE;
use crate::support::device::Device;

pub(crate) struct Client {
    client: AsyncClient,
    events: EventLoop,
    /// What came while something else was waited for.
    received: VecDeque<Publish>,
}

/// What became of something that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The broker acknowledged it.
    Taken,
    /// The broker said no.
    Refused,
    /// The broker ended the connection.
    Closed,
}

impl Client {
    /// Connects; the return code of the CONNACK if that is a refusal.
    pub(crate) async fn connect(port: u16, device: &Device) -> Result<Self, ConnectReturnCode> {
        let mut options = MqttOptions::new(&device.client_id, "127.0.0.1", port);
        options.set_credentials(&device.username, &device.password).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 16);
        events.network_options.set_connection_timeout(PATIENCE.as_secs());
        let mut connected = Self { client, events, received: VecDeque::new() };
        loop {
            match connected.event().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => return Ok(connected),
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(code),
                Err(error) => panic!("neither let in nor refused: {error}"),
            }
        }
    }

    /// Publishes and waits to hear of it.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> Sent {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        loop {
            match self.event().await {
                Ok(Event::Incoming(Incoming::PubAck(_))) => return Sent::Taken,
                Ok(_) => {}
                Err(_) => return Sent::Closed,
            }
        }
    }

    /// Subscribes and waits to hear of it.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> Sent {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        loop {
            match self.event().await {
                Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                    let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
                    return if refused { Sent::Refused } else { Sent::Taken };
                }
                Ok(_) => {}
                Err(_) => return Sent::Closed,
            }
        }
    }

    /// The next message, as its topic and its text.
    pub(crate) async fn receive(&mut self) -> (String, String) {
        loop {
            if let Some(message) = self.received.pop_front() {
                return (message.topic, String::from_utf8(message.payload.to_vec()).unwrap());
            }
            self.event().await.unwrap();
        }
    }

    /// What happens next. A message is kept: it may come before the acknowledgement that is waited for.
    async fn event(&mut self) -> Result<Event, ConnectionError> {
        let event = timeout(PATIENCE, self.events.poll()).await.expect("something to happen");
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
    use tokio::time::timeout;

    use crate::support::child::PATIENCE;
    use crate::support::device::Device;

    /// Connects, subscribes to a topic, publishes to it: the message that comes back, or why it was not let in.
    pub(crate) async fn exchange(
        port: u16,
        device: &Device,
        topic: &str,
        payload: &str,
    ) -> Result<(String, String), ConnectReturnCode> {
        let mut options = MqttOptions::new(&device.client_id, "127.0.0.1", port);
        options.set_credentials(&device.username, &device.password).set_keep_alive(Duration::from_secs(60));
        options.set_connection_timeout(PATIENCE.as_secs());
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        loop {
            match timeout(PATIENCE, events.poll()).await.expect("something to happen") {
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    client.publish(topic, QoS::AtLeastOnce, false, payload.to_owned()).await.unwrap();
                }
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    return Ok((text(&message.topic), text(&message.payload)));
                }
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(code),
                Err(error) => panic!("neither let in nor refused: {error}"),
            }
        }
    }
}
