//! The client, out of the fields of a request.

use super::fields::Fields;
use crate::auth_request::{AuthorizeRequest, Credentials, TopicAccess};
use crate::error::RequestError;

/// The limit of topics in one request: more than the SUBSCRIBE of a device has.
const MAX_ACCESSES: usize = 256;

/// How a broker names the fields of a client. All brokers say `username` and `password`.
pub(crate) struct FieldNames {
    pub(crate) client_id: &'static [&'static str],
    pub(crate) peer_host: &'static [&'static str],
    /// Whether a request may lack the client id, for policies that decide by the user name.
    pub(crate) client_id_is_optional: bool,
}

impl FieldNames {
    /// The credentials of a login.
    pub(crate) fn credentials(&self, mut fields: Fields) -> Result<Credentials, RequestError> {
        Ok(Credentials {
            client_id: self.client_id(&mut fields)?,
            username: non_empty(&mut fields, &["username"])?,
            password: fields.bytes("password")?.filter(|bytes| !bytes.is_empty()),
            authentication_method: None,
            authentication_data: None,
            peer_host: non_empty(&mut fields, self.peer_host)?,
            attributes: fields.into_remaining()?,
        })
    }

    /// The client that asks for these accesses.
    pub(crate) fn authorize_request(
        &self,
        mut fields: Fields,
        accesses: Vec<TopicAccess>,
    ) -> Result<AuthorizeRequest, RequestError> {
        if accesses.len() > MAX_ACCESSES {
            return Err(RequestError::TooManyFields { limit: MAX_ACCESSES });
        }
        // Some broker templates send the password here too. The policy does not need it.
        fields.remove("password");
        Ok(AuthorizeRequest {
            client_id: self.client_id(&mut fields)?,
            username: non_empty(&mut fields, &["username"])?,
            peer_host: non_empty(&mut fields, self.peer_host)?,
            attributes: fields.into_remaining()?,
            accesses,
        })
    }

    fn client_id(&self, fields: &mut Fields) -> Result<String, RequestError> {
        match fields.text(self.client_id)? {
            Some(client_id) => Ok(client_id),
            None if self.client_id_is_optional => Ok(String::new()),
            None => Err(RequestError::Missing("client_id")),
        }
    }
}

/// Takes out a text. An empty one was not sent by the client.
fn non_empty(fields: &mut Fields, names: &[&'static str]) -> Result<Option<String>, RequestError> {
    Ok(fields.text(names)?.filter(|text| !text.is_empty()))
}
