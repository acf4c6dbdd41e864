//! A procedure that commits in the middle of its work.

use pgrx::pg_sys;

use crate::error::Error;

/// The connection through which a called procedure commits (`SPI_OPT_NONATOMIC`).
///
/// At a commit nothing of the transaction may be left in Rust's hands: no open table, no snapshot,
/// no changed identity, no cursor.
pub struct Procedure(());

impl Procedure {
    /// Refuses calls inside a transaction that somebody else will end: in a block, a function, or
    /// behind an EXCEPTION clause.
    pub fn enter(call: pg_sys::FunctionCallInfo) -> Result<Self, Error> {
        // SAFETY: `call` is the running call's; a CALL passes a CallContext as its context.
        unsafe {
            let context = (*call).context;
            let is_call = !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_CallContext;
            if !is_call || (*context.cast::<pg_sys::CallContext>()).atomic {
                return Err(Error::Atomic);
            }
            let connected = pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
            if connected != pg_sys::SPI_OK_CONNECT as i32 {
                return Err(Error::Internal(format!("SPI_connect_ext answered {connected}")));
            }
        }
        Ok(Self(()))
    }

    /// Commits what was done, and begins the next transaction.
    pub fn commit(&mut self) {
        // SAFETY: connected by `enter`, and no other connection is open.
        unsafe { pg_sys::SPI_commit() };
    }
}

impl Drop for Procedure {
    fn drop(&mut self) {
        // On an error PostgreSQL's abort disconnects.
        if !std::thread::panicking() {
            // SAFETY: connected by `enter`.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}
