//! Selects the proxy of a call, as Go's `httpproxy` does for kubectl.
//!
//! The scheme of the address selects `HTTPS_PROXY` or `HTTP_PROXY`; the lower-case name has precedence. `localhost`, loopback addresses and
//! the entries of `NO_PROXY` use no proxy. An entry is an address, a CIDR range, a domain with its subdomains, a `.domain` for its
//! subdomains only, or `*` for all. Entries other than ranges may have a port. Invalid entries of `NO_PROXY` are ignored.

use std::net::IpAddr;

use http::Uri;

/// Returns the proxy for calls to `server`; `None` for a direct connection. `environment` returns the value of a variable.
///
/// # Errors
///
/// A description of the proxy that cannot be used.
pub fn from_environment(server: &Uri, environment: impl Fn(&str) -> Option<String>) -> Result<Option<Uri>, String> {
    let any = |names: [&str; 2]| {
        names.into_iter().find_map(|name| environment(name).filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)))
    };
    let chosen = match server.scheme_str() {
        Some("https") => any(["https_proxy", "HTTPS_PROXY"]),
        Some("http") => any(["http_proxy", "HTTP_PROXY"]),
        _ => None,
    };
    let Some((variable, proxy)) = chosen else { return Ok(None) };
    let excluded = any(["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
    if !applies(server, &excluded) {
        return Ok(None);
    }
    parse(&proxy).map(Some).map_err(|why| format!("${variable} {why}"))
}

/// Returns the proxy of a kubeconfig's cluster. It applies to every server.
///
/// # Errors
///
/// A description of what is wrong with the proxy.
pub fn of_cluster(proxy_url: &str) -> Result<Uri, String> {
    parse(proxy_url).map_err(|why| format!("proxy-url {why}"))
}

fn parse(text: &str) -> Result<Uri, String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = whole.parse().map_err(|_| "is not a valid address of a proxy".to_owned())?;
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "socks5" | "socks5h") {
        return Err(format!("has the unsupported scheme '{}': it must be http, https or socks5", api::text::printable(&scheme)));
    }
    if !super::address::has_host_and_port(&uri) {
        return Err("is not a valid address of a proxy".to_owned());
    }
    // The client supports one kind of SOCKS, in which the proxy resolves names.
    let mut parts = uri.into_parts();
    let plain = if scheme == "socks5h" { "socks5" } else { scheme.as_str() };
    parts.scheme = plain.parse().ok();
    parts.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| "is not a valid address of a proxy".to_owned())
}

/// True where calls to `server` use a proxy, by the list of exceptions.
fn applies(server: &Uri, excluded: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("https") { 443 } else { 80 });
    if host == "localhost" {
        return false;
    }
    let address: Option<IpAddr> = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if address.is_some_and(|address| address.is_loopback()) {
        return false;
    }
    !excluded
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .any(|entry| matches(&entry, &host, address, port))
}

fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>())
    {
        return address.is_some_and(|address| is_in(address, network, bits));
    }
    let (name, only) = with_port(entry);
    if only.is_some_and(|only| only != port.to_string()) || name.is_empty() {
        return false;
    }
    match (name.parse::<IpAddr>(), address) {
        (Ok(listed), Some(address)) => listed.to_canonical() == address,
        (Ok(_), None) | (Err(_), Some(_)) => false,
        (Err(_), None) => {
            let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
            match name.strip_prefix('.') {
                Some(_) => host.ends_with(name),
                None => host == name || host.strip_suffix(name).is_some_and(|below| below.ends_with('.')),
            }
        }
    }
}

/// Splits an entry into name and port. An IPv6 address without brackets has no port.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':').filter(|port| !port.is_empty())),
            None => (entry, None),
        };
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && a.checked_shr(width - bits).unwrap_or(0) == b.checked_shr(width - bits).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => same(u128::from(u32::from(address)), u128::from(u32::from(network)), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => same(u128::from(address), u128::from(network), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        from_environment(&server.parse().unwrap(), of).map(|found| found.map(|uri| uri.to_string()))
    }

    /// Each case as Go's `httpproxy` decides it.
    #[test]
    fn f40_no_proxy_is_read_as_golang_reads_it() {
        for (excluded, server, goes_through) in [
            ("", "https://10.0.0.1:6443", true),
            ("", "https://127.0.0.1:6443", false),
            ("", "https://127.9.9.9:6443", false),
            ("", "https://[::1]:6443", false),
            ("", "https://[::2]:6443", true),
            ("", "https://localhost:6443", false),
            ("", "https://localhost.example:6443", true),
            ("*", "https://10.0.0.1:6443", false),
            ("10.0.0.1", "https://10.0.0.1:6443", false),
            ("10.0.0.1", "https://10.0.0.2:6443", true),
            ("10.0.0.1:6443", "https://10.0.0.1:6443", false),
            ("10.0.0.1:443", "https://10.0.0.1:6443", true),
            ("10.0.0.1:443", "https://10.0.0.1", false),
            ("10.0.0.0/8", "https://10.200.0.1:6443", false),
            ("10.0.0.0/8", "https://11.0.0.1:6443", true),
            ("10.0.0.0/8", "https://example.com", true),
            ("0.0.0.0/0", "https://11.0.0.1:6443", false),
            ("fd00::/8", "https://[fd00::1]:6443", false),
            ("fd00::/8", "https://[fe00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", false),
            ("[fd00::1]:443", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00::1]:6443", false),
            ("example.com", "https://example.com", false),
            ("example.com", "https://api.example.com:6443", false),
            ("example.com", "https://notexample.com", true),
            (".example.com", "https://api.example.com", false),
            (".example.com", "https://example.com", true),
            ("*.example.com", "https://api.example.com", false),
            ("*.example.com", "https://example.com", true),
            ("Example.COM:6443", "https://api.example.com:6443", false),
            ("example.com:443", "https://api.example.com:6443", true),
            ("example.com:443", "https://api.example.com", false),
            (" other , example.com ,", "https://example.com", false),
            ("10.0.0.300/8,:443,[,/,,::", "https://example.com", true),
            ("10.0.0.0/33", "https://10.0.0.1", true),
            ("com", "https://example.com", false),
        ] {
            let found = chosen(server, &[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", excluded)]);
            assert_eq!(found.map(|found| found.is_some()), Ok(goes_through), "NO_PROXY={excluded} and {server}");
        }
    }

    #[test]
    fn f40_the_scheme_chooses_the_variable_and_lower_case_goes_first() {
        let both = [("HTTPS_PROXY", "http://secure:1"), ("HTTP_PROXY", "http://plain:1")];
        assert_eq!(chosen("https://a", &both), Ok(Some("http://secure:1/".to_owned())));
        assert_eq!(chosen("http://a", &both), Ok(Some("http://plain:1/".to_owned())));
        assert_eq!(chosen("https://a", &[("HTTP_PROXY", "http://plain:1")]), Ok(None));
        let lower = [("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "lower:1"), ("NO_PROXY", "*"), ("no_proxy", "b")];
        assert_eq!(chosen("https://a", &lower), Ok(Some("http://lower:1/".to_owned())));
        assert_eq!(
            chosen("https://a", &[("https_proxy", ""), ("HTTPS_PROXY", "socks5h://upper:1")]),
            Ok(Some("socks5://upper:1/".to_owned()))
        );
    }

    #[test]
    fn f40_a_proxy_that_cannot_be_used_is_named_without_its_password() {
        for proxy in ["ftp://ann:S3cr3t@proxy", "http://ann:S3cr3t@pro xy", "http://", "http://proxy:99999"] {
            let refused = chosen("https://a", &[("HTTPS_PROXY", proxy)]);
            assert!(refused.as_ref().is_err_and(|why| why.starts_with("$HTTPS_PROXY") && !why.contains("S3cr3t")), "{proxy}: {refused:?}");
        }
        assert_eq!(of_cluster("http://ann:pw@proxy:3128").map(|uri| uri.to_string()), Ok("http://ann:pw@proxy:3128/".to_owned()));
        assert!(of_cluster("gopher://x").is_err());
    }
}
