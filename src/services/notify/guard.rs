//! The egress guard: which hosts, networks and kinds of connections a receiver may use.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipnet::IpNet;
use reqwest::Url;

use super::message::{Failure, Reason};

/// Where receivers may connect to, as the configuration of the process has it. By default nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Allowed hosts: names such as `hooks.example.com`, all names below one as `*.example.com`, or addresses.
    pub hosts: Vec<String>,
    /// Those of the allowed hosts that may be used without TLS, in the same form.
    pub plain_hosts: Vec<String>,
    /// Private and reserved networks to which a host may resolve, such as `10.96.0.0/12`.
    pub networks: Vec<String>,
    /// Certificates of further authorities, in PEM.
    pub authorities: Option<String>,
}

/// The error of a configuration that is not valid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EgressError {
    /// A host is neither a name, `*.` and a name, nor an address.
    #[error("allowed host '{0}': must be a name, '*.' and a name, or an address")]
    Host(String),
    /// A network is not in CIDR notation.
    #[error("allowed network '{0}': must be in CIDR notation, such as 10.96.0.0/12")]
    Network(String),
    /// The certificates cannot be read.
    #[error("certificates of authorities: {0}")]
    Authorities(String),
}

/// The resolution of names, which tests replace.
pub trait Lookup: Send + Sync {
    /// Returns the addresses of a host.
    fn addresses(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub(crate) struct System;

impl Lookup for System {
    fn addresses(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    }
}

/// The networks that only a listed network opens: every special-purpose block of IANA's registries that is not globally reachable.
const RESERVED: [&str; 30] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // Platforms serve metadata, DNS and health of virtual machines at this public address.
    "168.63.129.16/32",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    // Addresses of IPv4 in those of IPv6.
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
];

/// The prefix of addresses that a translator maps to IPv4, RFC 6052.
const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// The guard over all connections to receivers.
pub(crate) struct Guard {
    hosts: Vec<Host>,
    plain: Vec<Host>,
    allowed: Vec<IpNet>,
    reserved: Vec<IpNet>,
    lookup: Arc<dyn Lookup>,
}

/// A pattern for hosts.
#[derive(Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// All names that end with this, which begins with a dot.
    Below(String),
}

impl Host {
    fn parse(text: &str) -> Result<Self, EgressError> {
        let error = || EgressError::Host(api::text::printable(text));
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |rest| (rest, true));
        // The form in which addresses of the same host are compared.
        let name = normal(name).ok_or_else(error)?;
        match (below, name.parse::<IpAddr>()) {
            (true, Ok(_)) => Err(error()),
            (true, Err(_)) => Ok(Self::Below(format!(".{name}"))),
            (false, _) => Ok(Self::Exact(name)),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        }
    }
}

/// Returns a host as URLs have it: in lower case, names in ASCII, addresses in their usual form, without brackets and a dot at the end.
fn normal(host: &str) -> Option<String> {
    let bracketed = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let url = Url::parse(&format!("https://{bracketed}/")).ok()?;
    let is_host_alone = url.port().is_none() && url.username().is_empty() && url.password().is_none() && url.path() == "/";
    let host = url.host_str().filter(|_| is_host_alone && url.query().is_none() && url.fragment().is_none())?;
    Some(host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_owned())
        .filter(|host| !host.is_empty() && !host.contains('*'))
}

/// Why a host has no addresses to connect to. It travels through the errors of the HTTP client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error("host '{0}' resolves to {1}, which is in a private or reserved network that is not allowed")]
    Forbidden(String, IpAddr),
    #[error("host '{0}' cannot be resolved: {1}")]
    Failed(String, std::io::Error),
    #[error("host '{0}' has no address")]
    Empty(String),
}

impl From<&Unresolved> for Failure {
    fn from(error: &Unresolved) -> Self {
        match error {
            Unresolved::Forbidden(..) => Self::refused(Reason::AddressNotAllowed, error.to_string()),
            Unresolved::Failed(..) | Unresolved::Empty(_) => Self::retry(error.to_string()),
        }
    }
}

impl Guard {
    pub(crate) fn new(egress: &Egress, lookup: Arc<dyn Lookup>) -> Result<Self, EgressError> {
        let hosts = |texts: &[String]| texts.iter().map(|text| Host::parse(text)).collect::<Result<Vec<_>, _>>();
        let network = |text: &String| text.parse::<IpNet>().map_err(|_| EgressError::Network(api::text::printable(text)));
        Ok(Self {
            hosts: hosts(&egress.hosts)?,
            plain: hosts(&egress.plain_hosts)?,
            allowed: egress.networks.iter().map(network).collect::<Result<_, _>>()?,
            reserved: RESERVED.iter().filter_map(|text| text.parse().ok()).collect(),
            lookup,
        })
    }

    /// Returns the URL if its host is allowed with its scheme. Addresses are checked when they are connected to, except one that the URL
    /// itself has: it is not resolved.
    pub(crate) fn url(&self, text: &str) -> Result<Url, Failure> {
        let invalid = |why: &str| Failure::refused(Reason::SettingsInvalid, format!("the address is not valid: {why}"));
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(invalid("must begin with https://"));
        }
        // Credentials would be in every log line that has the address.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not contain a user name or a password"));
        }
        let host = url.host_str().and_then(normal).ok_or_else(|| invalid("has no host"))?;
        self.host(&host, url.scheme() == "https")?;
        if let Ok(address) = host.parse() {
            self.address(&host, address).map_err(|error| Failure::from(&error))?;
        }
        Ok(url)
    }

    /// Checks the name of a host, and whether it may be used with or without TLS.
    pub(crate) fn host(&self, host: &str, is_encrypted: bool) -> Result<(), Failure> {
        let refused = |why: &str| Err(Failure::refused(Reason::HostNotAllowed, format!("host '{}' {why}", api::text::printable(host))));
        let Some(normal) = normal(host) else { return refused("is not a valid name") };
        let listed = |list: &[Host]| list.iter().any(|pattern| pattern.matches(&normal));
        if !listed(&self.hosts) {
            return refused("is not in the list of allowed hosts");
        }
        if !is_encrypted && !listed(&self.plain) {
            return refused("must be used with TLS: it is not in the list of hosts that may be used without");
        }
        Ok(())
    }

    /// Returns the addresses of a host to connect to. One forbidden address refuses the host: a name that resolves to both is an attack or
    /// a mistake.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
        let addresses = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => vec![address],
            Err(_) => self.lookup.addresses(host.to_owned()).await.map_err(|error| Unresolved::Failed(host.to_owned(), error))?,
        };
        for address in &addresses {
            self.address(host, *address)?;
        }
        if addresses.is_empty() {
            return Err(Unresolved::Empty(host.to_owned()));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    fn address(&self, host: &str, address: IpAddr) -> Result<(), Unresolved> {
        let plain = plain(address);
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&plain) || network.contains(&address));
        if within(&self.reserved) && !within(&self.allowed) {
            return Err(Unresolved::Forbidden(host.to_owned(), address));
        }
        Ok(())
    }
}

/// Returns the address of IPv4 in one of IPv6, so that it is not a way around the networks of IPv4.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [prefix @ .., high, low] = v6.segments();
    if prefix == TRANSLATED { Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low).to_canonical() } else { v6.to_canonical() }
}
