//! The client of operator and plugin: kubeconfig, credential plugin, proxy and their errors.

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

use crate::{errors::one_line, redact::redacted};
pub use credentials::{Credential, Stdin};
use credentials::{CredentialError, Plugin};
use kubeconfig::Target;
use way::{Bearer, Context};

/// kube's own service stack, below our layers for credentials and errors.
type Inner = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;
/// The parts of a client.
pub type Way = way::Way<Inner>;

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The credential plugin returned no credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
}

/// Returns the parts of a client for `target`. The credential plugin runs once, and again only when the credential has expired or is
/// rejected. `stdin` defines whether a user can answer its prompts, so this may take as long as an interactive sign-in.
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
    let inner = ClientBuilder::try_from(config)
        .map_err(|error| ClientError::Config(tls::of_config(&error).unwrap_or_else(|| redacted(&one_line(&error)).into_owned())))?;
    let way = layer_fn(move |inner| way::Way::new(inner, bearer.clone(), context.clone()));
    Ok(inner.with_layer(&way))
}

/// Decodes base64, the encoding of kubeconfigs.
fn coded(text: String) -> String {
    match serde_json::to_value(ByteString(text.into_bytes())) {
        Ok(serde_json::Value::String(coded)) => coded,
        _ => String::new(),
    }
}
