use control_plane::{Result, State};

/// Ends the running control plane.
pub(crate) async fn down() -> Result<()> {
    let ended = State::hold()?.end().await?;
    eprintln!("{}", if ended { "The control plane has stopped." } else { "No control plane was running." });
    Ok(())
}
