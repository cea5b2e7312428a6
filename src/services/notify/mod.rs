//! Notifications: rules say which events are sent to whom, receivers say how.
