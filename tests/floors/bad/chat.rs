use crate::gateway::Gateway;
