//! The auth service over HTTP: logins, invalid requests, methods, CORS and the status page.

mod cors;
mod login;
mod malformed;
mod methods;
mod refusals;
mod sequences;
mod status_page;
