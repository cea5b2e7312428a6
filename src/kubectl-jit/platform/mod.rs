//! The differences between the operating systems of users: signals, executable files, and how commands end.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{SHIM, Stops, exit_code, file_names, is_executable, make_executable, terminate};
#[cfg(windows)]
pub use windows::{SHIM, Stops, exit_code, file_names, is_executable, make_executable, terminate};

/// What asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C. The terminal sends it to the commands that this process has started as well.
    Interrupt,
    /// Any other signal that ends a process, which its commands do not receive.
    Terminate,
}

/// The file by which kubectl completes the arguments of a plugin (KEP-2379).
#[derive(Clone, Copy, Debug)]
pub struct Shim {
    /// The file's name.
    pub name: &'static str,
    /// The file's content.
    pub text: &'static str,
}
