//! Running SQL that somebody else wrote: as a chosen role, in a security-restricted operation.

use pgrx::pg_sys;

/// While it lives, the effective user is a chosen role inside a security-restricted operation: no
/// `SET ROLE`, no session changes, no temporary tables.
///
/// On an error PostgreSQL's abort restores the identity; on every other way out, the drop does.
pub struct RestrictedIdentity {
    user: pg_sys::Oid,
    context: i32,
}

impl RestrictedIdentity {
    /// Becomes `role`.
    pub fn enter(role: pg_sys::Oid) -> Self {
        let mut user = pg_sys::Oid::INVALID;
        let mut context = 0;
        // SAFETY: both calls only read and write the backend's identity.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            pg_sys::SetUserIdAndSecContext(
                role,
                context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32,
            );
        }
        Self { user, context }
    }
}

impl Drop for RestrictedIdentity {
    fn drop(&mut self) {
        // SAFETY: these values were read from the backend's identity by `enter`.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

/// While it lives, the transaction refuses to write.
pub struct ReadOnlyTransaction(bool);

impl ReadOnlyTransaction {
    /// Makes the transaction read-only, unless it is already.
    pub fn enter() -> Self {
        // SAFETY: a plain flag of the backend, read and written on its own thread.
        unsafe {
            let before = pg_sys::XactReadOnly;
            pg_sys::XactReadOnly = true;
            Self(before)
        }
    }
}

impl Drop for ReadOnlyTransaction {
    fn drop(&mut self) {
        // SAFETY: as in `enter`; an abort has set the flag by itself, to the same value.
        unsafe { pg_sys::XactReadOnly = self.0 };
    }
}

/// While it lives, `search_path` holds nothing but the system catalogs, so that no unqualified
/// name of ours can be hijacked.
pub struct PinnedSearchPath(i32);

impl PinnedSearchPath {
    /// Pins the path until the guard is dropped or the transaction aborts.
    pub fn enter() -> Self {
        // SAFETY: opens a GUC nesting level and sets one variable in it with constant strings.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self(level)
        }
    }
}

impl Drop for PinnedSearchPath {
    fn drop(&mut self) {
        // While an error unwinds, the abort that follows pops the level itself.
        if !std::thread::panicking() {
            // SAFETY: the level was opened by `enter`, and guards are dropped in reverse order.
            unsafe { pg_sys::AtEOXact_GUC(true, self.0) };
        }
    }
}

/// The role in whose name the backend acts now.
pub fn current_user() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetUserId() }
}

/// The role that called us, also while we act in another's name: the session's, or the one that
/// `SET ROLE` chose.
pub fn calling_user() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetOuterUserId() }
}

/// The role that the session logged in as.
pub fn session_user() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetSessionUserId() }
}

/// The name of a role, or its number if it is gone.
pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'ed C string, or NULL with `noerr`.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_u32().to_string();
        }
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the current user has the privileges of `role`: is it, is a member of it, or is a
/// superuser.
pub fn has_privileges_of(role: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system caches.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), role) }
}
