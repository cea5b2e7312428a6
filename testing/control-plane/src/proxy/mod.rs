//! A proxy between the controllers and the API server that can lose, delay, duplicate and deny calls, and disturb watches, by rule.
//!
//! Each controller uses a path prefix of its own, so that rules can distinguish them. Tokens, user agents and responses pass unchanged.

mod call;
mod rules;
mod server;
mod streams;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

pub use call::Call;
pub use rules::{Fault, InForce, Refusal, Rule};
pub use streams::{Disorder, Disturbed};

use crate::{Cluster, Error, Result, certificates};
use rules::Standing;
use server::ProxyHandler;
use streams::Disturbance;

/// The proxy. It has a thread of its own, because a test may block its runtime. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    handler: Arc<ProxyHandler>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts it in front of the API server of a control plane. It accepts connections when this returns.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io("the proxy cannot start")(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = format!("https://{}", listener.local_addr().map_err(failed)?);
        let tls = TlsAcceptor::from(Arc::new(certificates::tls(&cluster.pki(), "proxy")?));
        let handler = Arc::new(ProxyHandler::new(&cluster.without_credentials().await?)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serving = handler.clone();
        let serve = async move {
            tokio::select! {
                ended = server::serve(listener, tls, serving) => ended,
                _ = stopped => Ok(()),
            }
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                eprintln!("The proxy has ended: {error}");
            }
        });
        Ok(Self { address, handler, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the API server's address behind the proxy for a process of this name.
    #[must_use]
    pub fn address_for(&self, caller: &str) -> String {
        format!("{}/{caller}", self.address)
    }

    /// Adds a rule. Where several match a call, the oldest applies.
    #[must_use]
    pub fn place(&self, rule: Rule) -> InForce {
        self.handler.place(Arc::new(Standing::new(rule)))
    }

    /// Disturbs the watches of a resource, of one caller or of all.
    #[must_use]
    pub fn disturb(&self, caller: Option<&str>, resource: &str, disorder: Disorder) -> Disturbed {
        let standing = Arc::new(Disturbance::new(caller, resource, disorder));
        self.handler.disturb(standing.clone());
        Disturbed { standing }
    }

    /// Ends all running watches of a resource.
    pub fn cut(&self, resource: &str) {
        self.handler.cut(resource);
    }

    /// Returns all calls so far, in the order in which they were received.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.handler.calls()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
