//! The commands, one per file.

pub mod activate;
pub mod approve;
pub mod can_i;
pub mod check;
pub mod completion;
pub mod deactivate;
pub mod deny;
pub mod describe;
pub mod explain;
pub mod extend;
pub mod get;
pub mod history;
pub mod lint;
pub mod list;
pub mod man;
pub mod pending;
pub mod record;
pub mod review;
pub mod revoke;
pub mod roles;
pub mod run;
pub mod status;
pub mod unblock;
pub mod version;
pub mod wait;
pub mod whoami;
