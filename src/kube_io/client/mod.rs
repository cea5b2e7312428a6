//! The way to an API server, as operator and plugin go it: what a kubeconfig says, a credential plugin, a proxy, and what went wrong.

pub mod address;
pub mod credentials;
pub mod kubeconfig;
pub mod proxy;
pub mod tls;
mod way;

use std::sync::Arc;

use k8s_openapi::ByteString;
use kube::client::{Body, ClientBuilder, DynBody};
use tower::{BoxError, layer::layer_fn, util::BoxService};

use crate::errors::one_line;
pub use credentials::{Credential, Stdin};
use credentials::{CredentialError, Plugin};
use kubeconfig::Target;
use way::{Bearer, Context};

/// kube's own stack, below credentials and errors of ours.
type Inner = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;
/// What a client is made of.
pub type Way = way::Way<Inner>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The credential plugin gave no credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
}

/// The makings of a client for `target`. It runs the credential plugin, if there is one, once; and again only where the credential has
/// expired or is not accepted any more. `stdin` says whether somebody can answer its questions, so it may take as long as a sign-in does.
///
/// # Errors
///
/// The credential plugin failed, or certificates and keys cannot be used.
pub fn builder(target: Target, stdin: Stdin) -> Result<ClientBuilder<Way>, ClientError> {
    let Target { mut config, exec } = target;
    let mut bearer = None;
    if let Some(exec) = exec {
        let plugin = Plugin { exec, stdin };
        let Credential { token, certificate, expires } = plugin.run()?;
        if let Some((certificate, key)) = certificate {
            config.auth_info.client_certificate_data = Some(coded(certificate));
            config.auth_info.client_key_data = Some(coded(key).into());
        }
        if let Some(token) = token {
            bearer = Some(Bearer::new(plugin, &token, expires)?);
        }
    }
    let context = Arc::new(Context { server: config.cluster_url.clone(), proxied: config.proxy_url.is_some() });
    let inner =
        ClientBuilder::try_from(config).map_err(|error| ClientError::Config(tls::of_config(&error).unwrap_or_else(|| one_line(&error))))?;
    let way = layer_fn(move |inner| way::Way::new(inner, bearer.clone(), context.clone()));
    Ok(inner.with_layer(&way))
}

/// Base64, as kubeconfigs have it.
fn coded(text: String) -> String {
    match serde_json::to_value(ByteString(text.into_bytes())) {
        Ok(serde_json::Value::String(coded)) => coded,
        _ => String::new(),
    }
}
