//! The output of the charts, rendered by real Helm, compared with the requirements. Test names have the numbers of the threats that they
//! cover.

#[cfg(test)]
mod access;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod every_value;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod monitors;
#[cfg(test)]
mod pod_spec;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod rbac;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod render;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod values;
#[cfg(test)]
mod webhooks;
