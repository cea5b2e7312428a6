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
<<<<<<< HEAD
mod lint;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod monitors;
#[cfg(test)]
mod pod_spec;
=======
mod lifecycle;
>>>>>>> 6ac40d7 (Uninstalling revokes every grant first, and a priority level keeps ends in time in an overloaded API server)
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
