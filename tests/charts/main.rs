//! What the charts render, by real Helm, against what it must say. Names carry the numbers of the threats they guard against.

#[cfg(test)]
mod access;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod rbac;
#[cfg(test)]
mod render;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod values;
#[cfg(test)]
mod webhooks;
