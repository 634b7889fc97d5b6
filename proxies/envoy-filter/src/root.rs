//! The filter before there is a request or a connection: configured once on each worker, and ticking.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::ContextType;

use crate::config::{Config, Gate};
use crate::deadlines::TICK;
use crate::host_calls;
use crate::http::filter::{Http, Questions};
use crate::mqtt::filter::{Connections, Mqtt};

/// Most connections that one tick ends. The others are ended by the next ones.
const MOST_ENDED: usize = 4_096;

/// The filter, not configured yet.
#[must_use]
pub fn root() -> Box<dyn RootContext> {
    Box::new(Root { filter: None })
}

struct Root {
    filter: Option<Filter>,
}

/// What the filter is.
enum Filter {
    Http(Rc<Questions>),
    Mqtt(Rc<Connections>),
}

impl Context for Root {}

impl RootContext for Root {
    /// Without a good configuration, Envoy does not start.
    fn on_configure(&mut self, length: usize) -> bool {
        let config = match Config::parse(&host_calls::configuration(length)) {
            Ok(config) => config,
            Err(error) => {
                host_calls::complain(&format!("cannot be configured: {error}"));
                return false;
            }
        };
        self.filter = Some(match config.gate {
            Gate::Http { body } => Filter::Http(Rc::new(Questions::new(config.settings, body))),
            Gate::Mqtt { cluster, connect, seconds } => {
                host_calls::tick_every(TICK);
                Filter::Mqtt(Rc::new(Connections::new(config.settings, cluster, connect, seconds)))
            }
        });
        true
    }

    fn on_tick(&mut self) {
        if let Some(Filter::Mqtt(connections)) = &self.filter {
            connections.tick(host_calls::now(), MOST_ENDED).into_iter().for_each(host_calls::close);
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
            Filter::Http(questions) => Some(Box::new(Http::new(Rc::clone(questions)))),
            Filter::Mqtt(_) => None,
        }
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        match self.filter.as_ref()? {
            Filter::Mqtt(connections) => Some(Box::new(Mqtt::new(id, Rc::clone(connections)))),
            Filter::Http(_) => None,
        }
    }
}
