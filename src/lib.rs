//! vipcast
