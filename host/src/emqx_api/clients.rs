//! Lists the clients of EMQX, page by page.

use serde::Deserialize;
use serde_json::Value;

use super::{ApiError, EmqxApi, expect_success, read_json};

/// Clients of one page. EMQX skips all earlier pages for each request, so few large pages are cheapest.
const PAGE_SIZE: u64 = 1_000;

/// Clients of one page if larger pages are too long: client ids and user names can have 64 KiB each.
const SMALL_PAGE_SIZE: u64 = 100;

/// Longest page that is read: more than a small page of the longest client ids and user names.
const MAX_PAGE: u64 = 16 << 20;

/// A client of EMQX, connected or with a session that EMQX keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) peer_host: Option<String>,
}

/// A page of the list. EMQX writes `null` for a client without a user name.
#[derive(Deserialize)]
pub(super) struct Page {
    data: Vec<Row>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Row {
    clientid: Value,
    #[serde(default)]
    username: Value,
    #[serde(default)]
    ip_address: Value,
}

#[derive(Deserialize)]
struct Meta {
    hasnext: bool,
}

impl EmqxApi {
    /// Asks for one page of the clients of the cluster. The first page has the number 1.
    pub(super) fn clients(&self, page: u64, limit: u64) -> Result<Page, ApiError> {
        let fields = "clientid,username,ip_address";
        let mut response = self.get(&format!("/clients?page={page}&limit={limit}&fields={fields}"))?;
        expect_success(&response, &[])?;
        read_json(&mut response, MAX_PAGE)
    }
}

/// Position in the list of clients.
///
/// The list has no snapshot. A client that leaves moves later clients forward, perhaps onto a page that was read before.
/// The second sweep after an activation finds them.
pub(super) struct ClientPages {
    /// `None`: the last page was read.
    next: Option<u64>,
    size: u64,
}

impl Default for ClientPages {
    fn default() -> Self {
        Self { next: Some(1), size: PAGE_SIZE }
    }
}

impl ClientPages {
    /// Reads the next page; `None` after the last one. After an error, the same page is next.
    pub(super) fn next(
        &mut self,
        fetch: impl FnOnce(u64, u64) -> Result<Page, ApiError>,
    ) -> Result<Option<Vec<Client>>, ApiError> {
        let Some(number) = self.next else { return Ok(None) };
        let page = match fetch(number, self.size) {
            Err(ApiError::TooLong) if self.size > SMALL_PAGE_SIZE => {
                self.next = Some((number - 1) * (self.size / SMALL_PAGE_SIZE) + 1);
                self.size = SMALL_PAGE_SIZE;
                return Ok(Some(Vec::new()));
            }
            page => page?,
        };
        // An empty page ends the list too: clients left, and there may be no end of `hasnext`.
        self.next = (page.meta.hasnext && !page.data.is_empty()).then_some(number + 1);
        Ok(Some(page.data.into_iter().filter_map(Row::into_client).collect()))
    }
}

impl Row {
    fn into_client(self) -> Option<Client> {
        let text = |value| match value {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        };
        Some(Client {
            client_id: text(self.clientid)?,
            username: text(self.username),
            peer_host: text(self.ip_address),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(client_ids: &[&str], has_next: bool) -> Page {
        let data: Vec<_> = client_ids.iter().map(|id| json!({ "clientid": id, "username": null })).collect();
        serde_json::from_value(json!({ "data": data, "meta": { "hasnext": has_next, "page": 1 } })).unwrap()
    }

    fn ids(clients: Option<Vec<Client>>) -> Option<Vec<String>> {
        Some(clients?.into_iter().map(|client| client.client_id).collect())
    }

    #[test]
    fn pages_are_read_until_there_is_no_next() {
        let mut pages = ClientPages::default();
        let mut read = Vec::new();
        loop {
            let fetch = |number, size| {
                assert_eq!(size, PAGE_SIZE);
                Ok(if number < 3 { page(&["a"], true) } else { page(&["b", ""], false) })
            };
            let Some(clients) = ids(pages.next(fetch).unwrap()) else { break };
            read.extend(clients);
        }
        assert_eq!(read, ["a", "a", "b"]);
    }

    #[test]
    fn an_empty_page_is_the_last_one() {
        let mut pages = ClientPages::default();
        assert_eq!(ids(pages.next(|_, _| Ok(page(&[], true))).unwrap()), Some(vec![]));
        assert_eq!(pages.next(|_, _| panic!("no page is read")).unwrap(), None);
    }

    #[test]
    fn a_page_that_failed_is_read_again() {
        let mut pages = ClientPages::default();
        pages.next(|_, _| Ok(page(&["a"], true))).unwrap();
        pages.next(|_, _| Err(ApiError::Status(503))).unwrap_err();
        let clients = pages.next(|number, _| Ok(page(&[if number == 2 { "second" } else { "" }], false))).unwrap();
        assert_eq!(ids(clients), Some(vec!["second".to_owned()]));
    }

    #[test]
    fn pages_that_are_too_long_are_read_in_smaller_ones() {
        let mut pages = ClientPages::default();
        pages.next(|_, _| Ok(page(&["a"], true))).unwrap();
        assert_eq!(ids(pages.next(|_, _| Err(ApiError::TooLong)).unwrap()), Some(vec![]));
        let mut asked = None;
        pages
            .next(|number, size| {
                asked = Some((number, size));
                Ok(page(&["b"], false))
            })
            .unwrap();
        assert_eq!(asked, Some((11, SMALL_PAGE_SIZE)));
        let mut pages = ClientPages { next: Some(1), size: SMALL_PAGE_SIZE };
        pages.next(|_, _| Err(ApiError::TooLong)).unwrap_err();
    }

    #[test]
    fn a_row_holds_what_emqx_knows() {
        let row: Row =
            serde_json::from_value(json!({ "clientid": "c", "username": "u", "ip_address": "::1" })).unwrap();
        let expected =
            Client { client_id: "c".to_owned(), username: Some("u".to_owned()), peer_host: Some("::1".to_owned()) };
        assert_eq!(row.into_client(), Some(expected));
    }
}
