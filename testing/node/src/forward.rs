use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;

use control_plane::{Error, Result};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// Accepts connections on the listener that this program has as its standard input, which belongs to the machine's own network, and connects
/// them to a port of loopback here. It ends with the program.
pub async fn forward(port: u16) -> Result<()> {
    let failed = || Error::io("forward connections to the cluster");
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed())?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true).map_err(failed())?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed())?;
    loop {
        let (mut outside, _) = listener.accept().await.map_err(failed())?;
        tokio::spawn(async move {
            let Ok(mut inside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
            // It fails when one side is killed; then the other is closed as well.
            let _ = copy_bidirectional(&mut outside, &mut inside).await;
        });
    }
}
