//! What is refused while a sandbox is open, in every SQL statement and function down to the last.
//!
//! The hooks are on the way of every statement of a session that has loaded the library. So they
//! pass on without pgrx's guards, which would lose parts of the errors that pass (the place in the
//! statement, the name of a constraint): nothing in their frames needs to be dropped when
//! PostgreSQL jumps over them. Only what refuses is guarded.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgLogLevel;

use super::Sandbox;
use crate::error::Error;

/// Built-in functions have lower numbers (`FirstUnpinnedObjectId`).
const FIRST_OTHER: u32 = 12_000;

/// Built-in volatile functions that only read, or set what is undone at the end. The others are
/// refused: they lock, notify, number, cancel, reset, write large objects, slots or the WAL.
const READERS: [&CStr; 32] = [
    c"clock_timestamp",
    c"current_query",
    c"currval",
    c"gen_random_uuid",
    c"lastval",
    c"lo_get",
    c"pg_database_size",
    c"pg_indexes_size",
    c"pg_is_in_recovery",
    c"pg_ls_dir",
    c"pg_partition_ancestors",
    c"pg_partition_tree",
    c"pg_read_binary_file",
    c"pg_read_file",
    c"pg_relation_size",
    c"pg_sleep",
    c"pg_sleep_for",
    c"pg_sleep_until",
    c"pg_stat_file",
    c"pg_table_size",
    c"pg_tablespace_size",
    c"pg_total_relation_size",
    c"pg_xact_commit_timestamp",
    c"query_to_xml",
    c"query_to_xml_and_xmlschema",
    c"query_to_xmlschema",
    c"random",
    c"random_normal",
    c"set_config",
    c"timeofday",
    c"ts_rewrite",
    c"ts_stat",
];

/// The hooks that were there before ours.
#[derive(Clone, Copy)]
struct Previous {
    executor_start: pg_sys::ExecutorStart_hook_type,
    process_utility: pg_sys::ProcessUtility_hook_type,
    object_access: pg_sys::object_access_hook_type,
}

thread_local! {
    static PREVIOUS: Cell<Previous> = const {
        Cell::new(Previous { executor_start: None, process_utility: None, object_access: None })
    };
}

/// Installs the hooks; called once, when the library is loaded.
pub fn install() {
    // SAFETY: variables of the backend, changed on its only thread; the functions live as long as
    // the library, which is never unloaded.
    unsafe {
        PREVIOUS.set(Previous {
            executor_start: pg_sys::ExecutorStart_hook,
            process_utility: pg_sys::ProcessUtility_hook,
            object_access: pg_sys::object_access_hook,
        });
        pg_sys::ExecutorStart_hook = Some(executor_start);
        pg_sys::ProcessUtility_hook = Some(process_utility);
        pg_sys::object_access_hook = Some(object_access);
    }
}

/// PostgreSQL's own, without pgrx's guards.
mod unguarded {
    use super::{c_char, c_int, pg_sys};

    unsafe extern "C-unwind" {
        pub(super) fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
        pub(super) fn standard_ProcessUtility(
            statement: *mut pg_sys::PlannedStmt,
            text: *const c_char,
            read_only_tree: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            destination: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: PostgreSQL calls us with what it would call the standard function with.
    unsafe {
        if Sandbox::current().is_some() {
            refuse_plan((*query).plannedstmt);
        }
        match PREVIOUS.get().executor_start {
            Some(previous) => previous(query, flags),
            None => unguarded::standard_ExecutorStart(query, flags),
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "PostgreSQL's")]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: as in `executor_start`.
    unsafe {
        if Sandbox::current().is_some() {
            refuse_utility((*statement).utilityStmt);
        }
        let next = PREVIOUS.get().process_utility.unwrap_or(unguarded::standard_ProcessUtility);
        next(
            statement,
            text,
            read_only_tree,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
    }
}

unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: c_int,
    argument: *mut c_void,
) {
    // SAFETY: as in `executor_start`.
    unsafe {
        if access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE && Sandbox::current().is_some()
        {
            refuse_function(object);
        }
        if let Some(previous) = PREVIOUS.get().object_access {
            previous(access, class, object, part, argument);
        }
    }
}

/// # Safety
/// `plan` is the plan of a statement that is about to be executed.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn refuse_plan(plan: *mut pg_sys::PlannedStmt) {
    // SAFETY: promised by the caller; the range table holds entries alone.
    unsafe {
        let plan = &*plan;
        let what = match plan.commandType {
            pg_sys::CmdType::CMD_SELECT if plan.hasModifyingCTE => "a WITH that writes",
            pg_sys::CmdType::CMD_SELECT if !plan.rowMarks.is_null() => "SELECT FOR UPDATE or SHARE",
            pg_sys::CmdType::CMD_SELECT => "",
            pg_sys::CmdType::CMD_INSERT => "INSERT",
            pg_sys::CmdType::CMD_UPDATE => "UPDATE",
            pg_sys::CmdType::CMD_DELETE => "DELETE",
            // What else has a plan is checked as a utility statement.
            pg_sys::CmdType::CMD_UTILITY => "",
            _ => "a statement that writes",
        };
        if !what.is_empty() {
            refuse(Error::WritesInData { what: what.to_owned() });
        }
        if Sandbox::current().is_some_and(|sandbox| !sandbox.may_use_temporary) {
            let entries = plan.rtable;
            let count = if entries.is_null() { 0 } else { (*entries).length as usize };
            for index in 0..count {
                let entry = (*(*entries).elements.add(index)).ptr_value;
                refuse_temporary(&*entry.cast::<pg_sys::RangeTblEntry>());
            }
        }
    }
}

fn refuse_temporary(entry: &pg_sys::RangeTblEntry) {
    // Views count too; from PostgreSQL 16 on they are entries of another kind, with their number.
    if entry.relid == pg_sys::Oid::INVALID {
        return;
    }
    // SAFETY: a look-up in the system caches.
    let persistence = unsafe { pg_sys::get_rel_persistence(entry.relid) };
    if persistence as u8 == pg_sys::RELPERSISTENCE_TEMP {
        refuse(Error::TemporaryInData { table: crate::catalog::name::table_name(entry.relid) });
    }
}

/// # Safety
/// `statement` is the node of a utility statement.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn refuse_utility(statement: *mut pg_sys::Node) {
    // SAFETY: promised by the caller; command tags have constant names.
    unsafe {
        // What a procedure does is checked by itself.
        if matches!(
            (*statement).type_,
            pg_sys::NodeTag::T_VariableShowStmt | pg_sys::NodeTag::T_CallStmt
        ) {
            return;
        }
        let name = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(statement));
        refuse(Error::WritesInData { what: CStr::from_ptr(name).to_string_lossy().into_owned() });
    }
}

/// # Safety
/// Called inside a transaction.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn refuse_function(function: pg_sys::Oid) {
    // SAFETY: look-ups in the system caches; both names are palloc'ed C strings.
    unsafe {
        if function.to_u32() >= FIRST_OTHER
            || pg_sys::func_volatile(function) as u8 != pg_sys::PROVOLATILE_VOLATILE
        {
            return;
        }
        let name = pg_sys::get_func_name(function);
        if name.is_null() || READERS.contains(&CStr::from_ptr(name)) {
            return;
        }
        let shown = CStr::from_ptr(pg_sys::format_procedure(function)).to_string_lossy();
        refuse(Error::WritesInData { what: format!("a call of {shown}") });
    }
}

fn refuse(error: Error) {
    ErrorReport::from(error).report(PgLogLevel::ERROR);
}
