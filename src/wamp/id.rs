//! Identifiers on the wire: integers from 1 to 2^53 (basic profile, "IDs"), one type for each kind so that they
//! cannot be mixed up.

use std::fmt;

/// The largest identifier: the largest integer up to which an IEEE 754 double represents all.
pub const ID_MAX: u64 = 1 << 53;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A session; global scope, drawn at random.
    SessionId
);
id!(
    /// A publication; global scope, drawn at random.
    PublicationId
);
id!(
    /// A subscription; router scope: one for each topic (or pattern) and match policy of a realm.
    SubscriptionId
);
id!(
    /// A registration; router scope.
    RegistrationId
);
id!(
    /// A request; session scope: counts 1, 2, 3 in each direction.
    RequestId
);

impl RequestId {
    /// What comes before the first request of a session.
    pub const NONE: RequestId = RequestId(0);

    /// The identifier that must follow this one: one more, and 1 after 2^53.
    pub fn next(self) -> RequestId {
        if self.0 >= ID_MAX { RequestId(1) } else { RequestId(self.0 + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_count_from_one_and_wrap_to_one() {
        assert_eq!(RequestId::NONE.next(), RequestId(1));
        assert_eq!(RequestId(ID_MAX - 1).next(), RequestId(ID_MAX));
        assert_eq!(RequestId(ID_MAX).next(), RequestId(1));
    }
}
