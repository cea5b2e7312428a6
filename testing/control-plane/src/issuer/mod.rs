//! A small OIDC issuer for the sign-in of users; the API server fetches its keys.

mod configuration;
mod server;
mod sign_in;

pub(crate) use configuration::configuration;
pub(crate) use server::Issuer;
pub(crate) use sign_in::{KEY, id_token, new_key, read_key};
pub use sign_in::{Provider, SignIn};
