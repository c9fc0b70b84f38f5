//! URIs the specification defines: reasons to end a session and errors.

/// The peer wants to leave the realm.
pub const CLOSE_REALM: &str = "wamp.close.close_realm";
/// The answer to a GOODBYE.
pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
/// The peer wants to leave, and not to be known again by its cookie. It is Crossbar.io's and not the specification's.
pub const LOGOUT: &str = "wamp.close.logout";
/// Somebody has ended the session by the session meta API.
pub const KILLED: &str = "wamp.close.killed";
/// A reason like any other.
pub const NORMAL: &str = "wamp.close.normal";
/// The router is shutting down.
pub const SYSTEM_SHUTDOWN: &str = "wamp.close.system_shutdown";

/// Whoever it is has not proved it.
pub const AUTHENTICATION_FAILED: &str = "wamp.error.authentication_failed";
/// It could not be found out whether the session may do this.
pub const AUTHORIZATION_FAILED: &str = "wamp.error.authorization_failed";
/// A call was canceled, by its caller or because its callee left.
pub const CANCELED: &str = "wamp.error.canceled";
/// The realm does not tell who publishes or calls.
pub const DISCLOSE_ME_DISALLOWED: &str = "wamp.error.option_disallowed.disclose_me";
/// A payload that is not to be looked into, which a peer has not announced.
pub const FEATURE_NOT_SUPPORTED: &str = "wamp.error.feature_not_supported";
/// An argument or option has a type or value that is not acceptable.
pub const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
/// A URI breaks the rules, or begins with the reserved `wamp`.
pub const INVALID_URI: &str = "wamp.error.invalid_uri";
/// No authentication method of the client's is open to it.
pub const NO_MATCHING_AUTH_METHOD: &str = "wamp.error.no_matching_auth_method";
/// Every callee of the procedure has said that it cannot take the call.
pub const NO_AVAILABLE_CALLEE: &str = "wamp.error.no_available_callee";
/// Nobody has registered the procedure.
pub const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
/// The realm does not exist.
pub const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";
/// The registration is not one of this session's.
pub const NO_SUCH_REGISTRATION: &str = "wamp.error.no_such_registration";
/// Nobody here has that role, or not who asks for it.
pub const NO_SUCH_ROLE: &str = "wamp.error.no_such_role";
/// The session does not exist.
pub const NO_SUCH_SESSION: &str = "wamp.error.no_such_session";
/// The subscription is not one of this session's.
pub const NO_SUCH_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";
/// The session may not do this.
pub const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
/// An option is known, and not allowed here.
pub const OPTION_NOT_ALLOWED: &str = "wamp.error.option_not_allowed";
/// The message is larger than the receiver's transport takes.
pub const PAYLOAD_SIZE_EXCEEDED: &str = "wamp.error.payload_size_exceeded";
/// The procedure is registered already.
pub const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
/// The peer broke the protocol.
pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
/// A call was not answered in the time that its caller gave it.
pub const TIMEOUT: &str = "wamp.error.timeout";
/// The router cannot take this now: a limit is reached.
pub const UNAVAILABLE: &str = "wamp.error.unavailable";
