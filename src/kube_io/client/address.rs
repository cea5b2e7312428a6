//! Parses the address of an API server as kubectl does.

use http::Uri;

/// Parses an address. The default scheme is that of kubectl, `http`; no credentials are then sent to it.
///
/// # Errors
///
/// A description of what is wrong with the address.
pub fn parse(text: &str) -> Result<Uri, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it has no address".to_owned());
    }
    let invalid =
        || format!("invalid address '{}': write a URL such as https://HOST:PORT", api::text::printable(&crate::redact::redacted(text)));
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(invalid());
    }
    // Query and fragment are dropped, as kubectl does.
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    if authority.contains('@') {
        return Err("its address holds a user name or a password: write credentials into the kubeconfig's user".to_owned());
    }
    if !text.contains("://") && !path.is_empty() {
        return Err(invalid());
    }
    let uri: Uri = format!("{scheme}://{authority}/{path}").parse().map_err(|_| invalid())?;
    if has_host_and_port(&uri) { Ok(uri) } else { Err(invalid()) }
}

/// True for a host with an optional numeric port.
#[must_use]
pub fn has_host_and_port(uri: &Uri) -> bool {
    let (Some(host), Some(authority)) = (uri.host().filter(|host| !host.is_empty()), uri.authority()) else { return false };
    let place = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, place)| place);
    match place.strip_prefix(host) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    }
}

/// Returns an address for display: scheme, host, port and path.
#[must_use]
pub fn shown(server: &Uri) -> String {
    crate::redact::redacted(server.to_string().trim_end_matches('/')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f33_an_address_without_a_scheme_is_read_as_kubectl_does() {
        for (text, read) in [
            ("127.0.0.1:6443", "http://127.0.0.1:6443/"),
            ("localhost", "http://localhost/"),
            ("localhost/", "http://localhost/"),
            ("[::1]:6443", "http://[::1]:6443/"),
            ("https://10.0.0.1", "https://10.0.0.1/"),
            ("HTTPS://10.0.0.1:6443/", "https://10.0.0.1:6443/"),
            ("https://rancher.example/k8s/clusters/c-1?x=y#z", "https://rancher.example/k8s/clusters/c-1"),
            (" https://10.0.0.1:6443 ", "https://10.0.0.1:6443/"),
        ] {
            assert_eq!(parse(text).map(|uri| uri.to_string()), Ok(read.to_owned()), "{text}");
        }
    }

    #[test]
    fn f33_what_is_no_address_is_an_error() {
        for text in [
            "",
            " ",
            ":::",
            "127.0.0.1:1/x",
            "https://",
            "https:///x",
            "https://:6443",
            "ftp://x",
            "://x",
            "https://a b",
            "https://a:b",
            "https://a:99999",
            "https://a:",
            "https://[::1",
            "unix:///run/x",
            "https://ann:S3cr3t@10.0.0.1",
            "\u{0}",
            "https://\u{1b}[2J",
            "a:b:c",
            "https://ä:1",
        ] {
            let refused = parse(text);
            assert!(refused.as_ref().is_err_and(|why| !why.contains("S3cr3t")), "{text}: {refused:?}");
        }
    }
}
