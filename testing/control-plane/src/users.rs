use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The context and user of the cluster's admin, who holds a certificate of `system:masters`.
pub const ADMIN: &str = "admin";

/// The name of the node, where there is one.
pub const NODE: &str = "node-1";

/// The number of groups of the user `crowd`, in addition to `devs`.
const CROWD: usize = 1_000;

/// A user as the API server authenticates them: by a token, with a uid and groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// User name, and the name of their kubeconfig context.
    pub name: String,
    /// The uid that the authenticator returns.
    pub uid: String,
    /// The groups that the authenticator returns.
    pub groups: Vec<String>,
    /// The bearer token.
    pub token: String,
}

impl User {
    /// A user with the uid `u-<name>`, the given groups and a random token.
    pub fn new<G: Into<String>>(name: &str, groups: impl IntoIterator<Item = G>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            uid: format!("u-{name}"),
            groups: groups.into_iter().map(Into::into).collect(),
            token: random_token()?,
        })
    }

    /// Returns the user's line in the API server's token file.
    pub(crate) fn token_line(&self) -> String {
        let known = format!("{},{},{}", self.token, self.name, self.uid);
        if self.groups.is_empty() {
            // An empty column would be one group without a name.
            return known + "\n";
        }
        format!("{known},\"{}\"\n", self.groups.join(","))
    }
}

/// Returns the users of every control plane: `dev` and `dev-2` (group `devs`), `lead-1` and `lead-2` (`leads`), `security` (`security`),
/// `outsider` (none) and `crowd` (`devs` and a thousand more).
pub fn standard_users() -> Result<Vec<User>> {
    let crowd = (0..CROWD).map(|number| format!("crowd-{number:04}"));
    Ok(vec![
        User::new("dev", ["devs"])?,
        User::new("dev-2", ["devs"])?,
        User::new("lead-1", ["leads"])?,
        User::new("lead-2", ["leads"])?,
        User::new("security", ["security"])?,
        User::new("outsider", [""; 0])?,
        User::new("crowd", crowd.chain(["devs".to_owned()]))?,
    ])
}

/// Returns 128 random bits in hex.
pub(crate) fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).map_err(Error::io("read /dev/urandom"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_line_quotes_its_groups() {
        let user = User { token: "t".into(), ..User::new("ann", ["a", "b"]).unwrap() };
        assert_eq!(user.token_line(), "t,ann,u-ann,\"a,b\"\n");
        let user = User { token: "t".into(), ..User::new("bob", [""; 0]).unwrap() };
        assert_eq!(user.token_line(), "t,bob,u-bob\n");
    }

    #[test]
    fn crowd_is_in_a_thousand_groups_and_in_devs() {
        let users = standard_users().unwrap();
        let crowd = users.iter().find(|user| user.name == "crowd").unwrap();
        assert_eq!(crowd.groups.len(), 1001);
        assert!(crowd.groups.contains(&"crowd-0999".to_owned()));
        assert!(crowd.groups.contains(&"devs".to_owned()));
    }
}
