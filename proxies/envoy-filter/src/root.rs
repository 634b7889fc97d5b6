//! The root context: one per worker thread. Reads the configuration, creates the filter, closes connections on ticks.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::ContextType;

use crate::config::{Config, Mode};
use crate::deadlines::TICK_INTERVAL;
use crate::host_calls;
use crate::http::filter::{HttpFilter, HttpStream};
use crate::mqtt::filter::{MqttConnection, MqttFilter};

/// Maximum number of connections that one tick closes, so that a tick stays short. The next tick closes more.
const MAX_CLOSED_PER_TICK: usize = 4_096;

/// Creates the root context, which Envoy then configures.
#[must_use]
pub fn root() -> Box<dyn RootContext> {
    Box::new(Root { filter: None })
}

struct Root {
    filter: Option<Filter>,
}

/// The configured filter.
enum Filter {
    Http(Rc<HttpFilter>),
    Mqtt(Rc<MqttFilter>),
}

impl Context for Root {}

impl RootContext for Root {
    /// Envoy does not start if this returns false.
    fn on_configure(&mut self, length: usize) -> bool {
        let config = match Config::parse(&host_calls::configuration(length)) {
            Ok(config) => config,
            Err(error) => {
                host_calls::error(&format!("invalid configuration: {error}"));
                return false;
            }
        };
        self.filter = Some(match config.mode {
            Mode::Http { max_body } => Filter::Http(Rc::new(HttpFilter::new(config.settings, max_body))),
            Mode::Mqtt { cluster, max_connect, connect_seconds } => {
                host_calls::set_tick_interval(TICK_INTERVAL);
                Filter::Mqtt(Rc::new(MqttFilter::new(config.settings, cluster, max_connect, connect_seconds)))
            }
        });
        true
    }

    fn on_tick(&mut self) {
        if let Some(Filter::Mqtt(filter)) = &self.filter {
            filter.tick(host_calls::now(), MAX_CLOSED_PER_TICK).into_iter().for_each(host_calls::close_connection);
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(match self.filter.as_ref()? {
            Filter::Http(_) => ContextType::HttpContext,
            Filter::Mqtt(_) => ContextType::StreamContext,
        })
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        match self.filter.as_ref()? {
            Filter::Http(filter) => Some(Box::new(HttpStream::new(Rc::clone(filter)))),
            Filter::Mqtt(_) => None,
        }
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        match self.filter.as_ref()? {
            Filter::Mqtt(filter) => Some(Box::new(MqttConnection::new(id, Rc::clone(filter)))),
            Filter::Http(_) => None,
        }
    }
}
