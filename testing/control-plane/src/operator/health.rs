use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The timeout of a health check.
const LIMIT: Duration = Duration::from_secs(1);

/// Returns the address of the health server, from the log line that a process prints when it listens: `... listening
/// address=127.0.0.1:41234 what=health`.
pub(super) fn address(log: &str) -> Option<SocketAddr> {
    log.lines().filter(|line| line.contains("listening")).find_map(|line| {
        let field = |name: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
        };
        (field("what")? == "health").then(|| field("address")?.parse().ok())?
    })
}

/// Returns the response of a health server to a path. The error is a message for the user.
pub(super) async fn get(address: SocketAddr, path: &'static str) -> Result<String, String> {
    tokio::task::spawn_blocking(move || ask(address, path)).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or("no status");
    Ok(if status == "200" { Ok(body.to_owned()) } else { Err(format!("{path} answers {status} {}", body.trim())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_health_address_among_others() {
        let log = "\
            2026-01-01T00:00:00Z  INFO starting version=1\n\
            2026-01-01T00:00:00Z  INFO listening address=127.0.0.1:9443 what=webhook\n\
            2026-01-01T00:00:00Z  INFO listening address=127.0.0.1:41234 what=\"health\"\n";
        assert_eq!(address(log), Some(([127, 0, 0, 1], 41_234).into()));
        assert_eq!(address("listening address=127.0.0.1:9443 what=webhook"), None);
        assert_eq!(address("listening what=health"), None);
        assert_eq!(address(""), None);
    }
}
