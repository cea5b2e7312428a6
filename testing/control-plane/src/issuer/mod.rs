//! Where people sign in: a small OIDC issuer, which the API server asks for its keys.

mod configuration;
mod server;
mod sign_in;

pub(crate) use configuration::configuration;
pub(crate) use server::Issuer;
pub(crate) use sign_in::{KEY, id_token, new_key, read_key};
pub use sign_in::{Provider, SignIn};
