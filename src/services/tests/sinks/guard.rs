//! The egress guard: hosts, encryption, addresses, redirects and proxies.

use std::{
    collections::VecDeque,
    io::Read as _,
    net::{IpAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{body::Body, response::Response};
use futures::{FutureExt as _, future::BoxFuture};
use jit_rbac_services::notify::{Alertmanager, Egress, EgressError, Lookup, Reason, Receiver, Sender, Settings, Smtp, SmtpTls, Webhook};
use notify_tools::{Authority, Https};
use tempfile::TempDir;

use super::fixture::{Always, HOST, delivered, egress, message, receiver, refused, retry, secret, sender};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn keys() -> TempDir {
    secret(&[("signing-key", KEY)])
}

fn webhook(url: &str, secret: &TempDir) -> Receiver {
    receiver(Settings::Webhook(Webhook { url: Some(url.to_owned()) }), secret)
}

fn only(hosts: &[&str]) -> Egress {
    Egress { hosts: hosts.iter().map(ToString::to_string).collect(), ..Egress::default() }
}

fn resolving(egress: &Egress, address: &str) -> Sender {
    Sender::with_lookup(egress, "//test", Arc::new(Always(address.parse().unwrap()))).unwrap()
}

#[tokio::test]
async fn only_listed_hosts_are_called() {
    let keys = keys();
    let allowed = only(&["hooks.example.com", "*.example.org", "[2001:4860::8888]"]);
    let sender = resolving(&allowed, "192.0.2.1");
    for host in [
        "evil.example.com",
        "hooks.example.com.evil.test",
        "xhooks.example.com",
        "example.org",
        "evilexample.org",
        "a.example.org.evil.test",
        "8.8.8.8",
        "[2001:4860::8844]",
        "xn--hoks-4qa.example.com",
    ] {
        let receiver = webhook(&format!("https://{host}/"), &keys);
        let why = refused(sender.send(&receiver, &message()).await, Reason::HostNotAllowed);
        assert!(why.ends_with("is not in the list of allowed hosts"), "{host}: {why}");
        assert_eq!(sender.check(&receiver).unwrap_err().0, Reason::HostNotAllowed, "{host}");
    }
    for host in ["hooks.example.com", "HOOKS.example.com", "hooks.example.com.", "a.example.org", "b.a.example.org", "[2001:4860:0::8888]"]
    {
        assert_eq!(sender.check(&webhook(&format!("https://{host}/"), &keys)), Ok(()), "{host}");
    }
}

#[tokio::test]
async fn addresses_with_credentials_other_schemes_or_no_host_are_refused() {
    let keys = keys();
    let sender = resolving(&only(&["hooks.example.com"]), "192.0.2.1");
    for url in [
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "https://a:b@hooks.example.com/",
        "https://a@hooks.example.com/",
        "hooks.example.com",
        "",
        "https://",
    ] {
        assert_eq!(sender.check(&webhook(url, &keys)).unwrap_err().0, Reason::SettingsInvalid, "{url}");
    }
    // The user name is not mistaken for the host.
    let why = sender.check(&webhook("https://hooks.example.com@evil.test/", &keys)).unwrap_err();
    assert_eq!(why.0, Reason::SettingsInvalid);
}

#[tokio::test]
async fn http_is_for_listed_hosts_only() {
    let keys = keys();
    let mut egress = only(&["hooks.example.com", "plain.example.com"]);
    egress.plain_hosts = vec!["plain.example.com".to_owned()];
    let sender = resolving(&egress, "192.0.2.1");
    let why = sender.check(&webhook("http://hooks.example.com/", &keys)).unwrap_err();
    assert_eq!(
        why,
        (
            Reason::HostNotAllowed,
            "host 'hooks.example.com' must be used with TLS: it is not in the list of hosts that may be used without".to_owned()
        )
    );
    assert_eq!(sender.check(&webhook("http://plain.example.com/", &keys)), Ok(()));
    // To be plain is not to be allowed.
    egress.hosts.pop();
    let sender = resolving(&egress, "192.0.2.1");
    assert_eq!(sender.check(&webhook("http://plain.example.com/", &keys)).unwrap_err().0, Reason::HostNotAllowed);
    let smtp =
        Smtp { host: "hooks.example.com".to_owned(), port: None, tls: SmtpTls::Plain, from: "a@example.com".to_owned(), reply_to: None };
    assert_eq!(sender.check(&receiver(Settings::Smtp(smtp), &keys)).unwrap_err().0, Reason::HostNotAllowed);
}

#[tokio::test]
async fn private_and_reserved_addresses_are_refused_for_every_sink() {
    let keys = keys();
    let egress = only(&["hooks.example.com"]);
    for address in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        let sender = resolving(&egress, address);
        let why = refused(sender.send(&webhook("https://hooks.example.com/", &keys), &message()).await, Reason::AddressNotAllowed);
        let shown = address.parse::<IpAddr>().unwrap().to_string();
        assert!(why.contains(&format!("resolves to {shown},")), "{address}: {why}");
        let smtp = Smtp {
            host: "hooks.example.com".to_owned(),
            port: None,
            tls: SmtpTls::Implicit,
            from: "a@example.com".to_owned(),
            reply_to: None,
        };
        refused(sender.send(&receiver(Settings::Smtp(smtp), &keys), &message()).await, Reason::AddressNotAllowed);
    }
}

#[tokio::test]
async fn an_address_in_the_url_is_checked_in_every_notation() {
    let keys = keys();
    // The client does not resolve these.
    let egress = only(&["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"]);
    for host in
        ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.1."]
    {
        let receiver = webhook(&format!("https://{host}:9/"), &keys);
        refused(sender_of(&egress).send(&receiver, &message()).await, Reason::AddressNotAllowed);
        assert_eq!(sender_of(&egress).check(&receiver).unwrap_err().0, Reason::AddressNotAllowed, "{host}");
    }
}

fn sender_of(egress: &Egress) -> Sender {
    Sender::new(egress, "//test").unwrap()
}

/// A resolver that returns another answer each time.
struct Changing(Mutex<VecDeque<Vec<IpAddr>>>);

impl Lookup for Changing {
    fn addresses(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let next = self.0.lock().unwrap().pop_front().unwrap_or_default();
        async move { Ok(next) }.boxed()
    }
}

fn changing(egress: &Egress, answers: &[&[&str]]) -> Sender {
    let answers = answers.iter().map(|addresses| addresses.iter().map(|address| address.parse().unwrap()).collect()).collect();
    Sender::with_lookup(egress, "//test", Arc::new(Changing(Mutex::new(answers)))).unwrap()
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let keys = keys();
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], |_, _| Response::new(Body::empty()));
    let mut egress = egress(&authority);
    egress.networks = vec!["127.0.0.2/32".to_owned()];
    let receiver = webhook(&server.url(HOST, "/"), &keys);
    // The server is at 127.0.0.1. A second resolution would reach it.
    let rebinding = changing(&egress, &[&["127.0.0.2"], &["127.0.0.1"]]);
    retry(rebinding.send(&receiver, &message()).await);
    let why = refused(rebinding.send(&receiver, &message()).await, Reason::AddressNotAllowed);
    assert!(why.contains("127.0.0.1"), "{why}");
    // One forbidden address among allowed ones is enough.
    let mixed = changing(&egress, &[&["127.0.0.2", "127.0.0.1"]]);
    refused(mixed.send(&receiver, &message()).await, Reason::AddressNotAllowed);
    assert!(server.calls().is_empty());
    let empty = changing(&egress, &[&[]]);
    retry(empty.send(&receiver, &message()).await);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let keys = keys();
    let authority = Authority::default();
    let other = Https::start(&authority, &[HOST], |_, _| Response::new(Body::empty()));
    let target = other.url(HOST, "/");
    let server = Https::start(&authority, &[HOST], move |_, _| {
        Response::builder().status(307).header("location", &target).body(Body::empty()).unwrap()
    });
    let why = refused(sender(&egress(&authority)).send(&webhook(&server.url(HOST, "/"), &keys), &message()).await, Reason::Rejected);
    assert_eq!(why, "HTTP status 307 Temporary Redirect: redirects are not followed");
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn certificates_of_other_names_and_authorities_are_refused() {
    let keys = keys();
    let authority = Authority::default();
    let answer = |_: usize, _: &notify_tools::Call| Response::new(Body::empty());
    let other_name = Https::start(&authority, &["other.example.com"], answer);
    let (_, why) = retry(sender(&egress(&authority)).send(&webhook(&other_name.url(HOST, "/"), &keys), &message()).await);
    assert!(why.starts_with("cannot connect: ") && why.contains("certificate"), "{why}");
    let other_authority = Https::start(&Authority::default(), &[HOST], answer);
    let (_, why) = retry(sender(&egress(&authority)).send(&webhook(&other_authority.url(HOST, "/"), &keys), &message()).await);
    assert!(why.contains("certificate"), "{why}");
    assert!(other_name.calls().is_empty() && other_authority.calls().is_empty());
    // An authority of the receiver's Secret counts for this receiver.
    let server = Https::start(&authority, &[HOST], answer);
    let mut egress = egress(&authority);
    egress.authorities = None;
    let own = secret(&[("signing-key", KEY), ("ca.crt", &authority.pem())]);
    delivered(sender(&egress).send(&webhook(&server.url(HOST, "/"), &own), &message()).await);
    retry(sender(&egress).send(&webhook(&server.url(HOST, "/"), &keys), &message()).await);
}

/// This test runs itself in a process of its own: the environment of a process is read when its first client is created.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    let keys = keys();
    if std::env::var_os("HTTPS_PROXY").is_some_and(|proxy| proxy.to_string_lossy().contains("127.0.0.1")) {
        let authority = Authority::default();
        let server = Https::start(&authority, &[HOST], |_, _| Response::new(Body::empty()));
        delivered(sender(&egress(&authority)).send(&webhook(&server.url(HOST, "/"), &keys), &message()).await);
        return;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "guard::proxies_of_the_environment_are_not_used"]);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
        command.env(name, &address);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut byte = [0];
    assert!(
        proxy.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "the proxy was used: {:?}",
        proxy.accept().map(|(mut stream, _)| stream.read(&mut byte))
    );
}

#[test]
fn a_configuration_that_is_not_valid_names_the_value() {
    let error = |egress: &Egress| Sender::new(egress, "//test").err().map(|error| error.to_string());
    for host in [
        "",
        "*",
        "*.",
        "**.example.com",
        "a*.example.com",
        "https://example.com",
        "example.com/path",
        "example.com:443",
        "a@example.com",
        "*.10.0.0.1",
        "a b",
    ] {
        assert_eq!(Sender::new(&only(&[host]), "//test").err(), Some(EgressError::Host(host.to_owned())), "{host}");
    }
    for network in ["10.0.0.0", "10.0.0.0/33", "any", ""] {
        let egress = Egress { networks: vec![network.to_owned()], ..Egress::default() };
        assert_eq!(Sender::new(&egress, "//test").err(), Some(EgressError::Network(network.to_owned())), "{network}");
    }
    let egress = Egress { authorities: Some("nothing".to_owned()), ..Egress::default() };
    assert_eq!(error(&egress).as_deref(), Some("certificates of authorities: has no certificate"));
}

#[tokio::test]
async fn nothing_is_allowed_by_default() {
    let keys = keys();
    let sender = sender_of(&Egress::default());
    let alertmanager = Alertmanager { urls: vec!["https://alertmanager.monitoring.svc:9093".to_owned()], ..Alertmanager::default() };
    refused(sender.send(&receiver(Settings::Alertmanager(alertmanager), &keys), &message()).await, Reason::HostNotAllowed);
}
