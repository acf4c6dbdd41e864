//! Training data: the rows of a SELECT that somebody wrote.
//!
//! The query runs in a sandbox, in which it can only read, and through a cursor, so that memory
//! does not grow with the rows.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiClient};
use teller_numeric::options::nearest;
use teller_recommend::IdRef;

use crate::bridge::sandbox::{self, Reader};
use crate::bridge::{array, memory, messages};
use crate::catalog::feature::{Feature, FeatureValue};
use crate::catalog::rows_digest::RowsDigest;
use crate::error::Error;

/// Rows fetched at a time.
const BATCH: i64 = 1000;

/// What a column must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bytea`.
    Bytes,
    /// Text or whatever prints as a short name: integers, booleans, enums.
    Label,
    /// Integers, or text or uuid.
    Id,
    /// Any number.
    Number,
    /// A date, a time, or seconds since 1970.
    Time,
    /// `real[]`.
    Numbers,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Bytes => "bytea",
            Self::Label => "text, an integer, boolean or an enum",
            Self::Id => "an integer, text or uuid",
            Self::Number => "a number",
            Self::Time => "a date, a timestamp, or a number of seconds since 1970",
            Self::Numbers => "real[]",
        }
    }
}

/// A column that a task reads.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the query's result.
    pub name: &'static str,
    /// What it must hold.
    pub kind: Kind,
    /// Whether the query must have it.
    pub required: bool,
}

/// A SELECT, and who reads it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The statement.
    pub text: &'a str,
    /// In whose name.
    pub reader: Reader<'a>,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct RowsRead {
    /// The number of rows.
    pub rows: u64,
    /// SHA-256 over the values of all rows in their order, in hexadecimal; see [`RowsDigest`].
    pub digest: String,
}

impl RowsRead {
    /// The same rows, trained on together with `more`: a digest over both digests.
    pub fn and(self, more: &RowsRead) -> Self {
        let digest = RowsDigest::default();
        digest.text(&self.digest);
        digest.text(&more.digest);
        Self { rows: self.rows, digest: digest.finish() }
    }
}

/// What becomes of columns that the task does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Refused,
    Features,
}

/// Runs `query` and calls `each` for every row, with the values of `columns`. It must take each of
/// them once, in their order.
pub fn read(
    query: Query,
    columns: &[Column],
    mut each: impl FnMut(&DataRow) -> Result<(), Error>,
) -> Result<RowsRead, Error> {
    let each = |_: &mut (), row: &DataRow| each(row);
    Ok(read_rows(query, columns, Others::Refused, |_| Ok(()), each)?.1)
}

/// As [`read`], of a query that may have any other columns: features. `begin` is told which, and
/// what it gives goes to `each`.
pub fn read_with_features<S>(
    query: Query,
    columns: &[Column],
    begin: impl FnOnce(&[Feature]) -> Result<S, Error>,
    each: impl FnMut(&mut S, &DataRow) -> Result<(), Error>,
) -> Result<(S, RowsRead), Error> {
    read_rows(query, columns, Others::Features, begin, each)
}

fn read_rows<S>(
    query: Query,
    columns: &[Column],
    others: Others,
    begin: impl FnOnce(&[Feature]) -> Result<S, Error>,
    each: impl FnMut(&mut S, &DataRow) -> Result<(), Error>,
) -> Result<(S, RowsRead), Error> {
    let digest = RowsDigest::default();
    // SAFETY: `run` calls it with a valid descriptor.
    let sources = |descriptor| unsafe { match_columns(descriptor, columns, others) };
    let begin = |features: &[Feature]| {
        features.iter().for_each(|feature| digest.text(&feature.name));
        begin(features)
    };
    let (state, rows) = run(query, columns, sources, begin, &digest, each)?;
    let digest = digest.finish();
    messages::debug(&format!("read {rows} rows with the SHA-256 {digest}"));
    Ok((state, RowsRead { rows, digest }))
}

/// Whether the rows of `query` have a column of this name.
pub fn has_column(query: Query, name: &str) -> Result<bool, Error> {
    let c_query = CString::new(query.text).map_err(|_| Error::NotOneSelect)?;
    let name = CString::new(name).map_err(|error| Error::Internal(error.to_string()))?;
    Spi::connect(|_client: &SpiClient| {
        sandbox::run(query.reader, || {
            let portal = open(&c_query)?;
            // SAFETY: as in `run`; the name is NUL-terminated.
            Ok(unsafe { pg_sys::SPI_fnumber((*portal).tupDesc, name.as_ptr()) } > 0)
        })
    })
}

/// Runs `query`, which has one column, of ids and under any name, and calls `each` with every one;
/// NULLs are left out.
pub fn read_ids(query: Query, mut each: impl FnMut(IdRef)) -> Result<(), Error> {
    let column = Column { name: "item_id", kind: Kind::Id, required: true };
    let digest = RowsDigest::default();
    let sources = |descriptor: pg_sys::TupleDesc| {
        // SAFETY: `run` calls it with a valid descriptor.
        let columns = unsafe { (*descriptor).natts };
        if columns != 1 {
            return Err(Error::CandidatesColumns(columns as usize));
        }
        // SAFETY: as above; it has a first attribute.
        unsafe { source(descriptor, 1, &column) }.map(|source| (vec![Some(source)], Vec::new()))
    };
    run(
        query,
        &[column],
        sources,
        |_| Ok(()),
        &digest,
        |(), row| {
            if row.is_null(0) { Ok(()) } else { row.id(0, &mut each) }
        },
    )?;
    Ok(())
}

/// Runs `query` and calls `each` for every row.
fn run<S>(
    query: Query,
    columns: &[Column],
    sources: impl FnOnce(pg_sys::TupleDesc) -> Result<(Vec<Option<Source>>, Vec<Feature>), Error>,
    begin: impl FnOnce(&[Feature]) -> Result<S, Error>,
    digest: &RowsDigest,
    mut each: impl FnMut(&mut S, &DataRow) -> Result<(), Error>,
) -> Result<(S, u64), Error> {
    let c_query = CString::new(query.text).map_err(|_| Error::NotOneSelect)?;
    Spi::connect(|_client: &SpiClient| {
        sandbox::run(query.reader, || {
            let portal = open(&c_query)?;
            // SAFETY: the portal's descriptor is valid while it is open; it is closed when the
            // sandbox is left.
            let (sources, features) = sources(unsafe { (*portal).tupDesc })?;
            let mut state = begin(&features)?;
            let mut rows = 0u64;
            // SAFETY: SPI is connected; what is fetched stays until it is freed.
            while let Some((table, fetched)) = unsafe { fetch(portal) } {
                for index in 0..fetched {
                    rows += 1;
                    // SAFETY: `fetched` rows stand in the table.
                    let (tuple, descriptor) =
                        unsafe { (*(*table).vals.add(index), (*table).tupdesc) };
                    let row = DataRow {
                        sources: &sources,
                        columns,
                        features: &features,
                        tuple,
                        descriptor,
                        number: rows,
                        digest,
                    };
                    each(&mut state, &row)?;
                }
                // SAFETY: nothing of its rows is kept.
                unsafe { pg_sys::SPI_freetuptable(table) };
                memory::look();
                pgrx::check_for_interrupts!();
            }
            Ok((state, rows))
        })
    })
}

/// Opens a cursor. SPI is connected; plan and portal live until the sandbox is left.
fn open(query: &CStr) -> Result<pg_sys::Portal, Error> {
    // SAFETY: the query is NUL-terminated; the plan is checked before it is run.
    unsafe {
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        check_is_one_select(plan)?;
        Ok(pg_sys::SPI_cursor_open(
            std::ptr::null(),
            plan,
            std::ptr::null_mut(),
            std::ptr::null(),
            true,
        ))
    }
}

/// The next rows and their number.
///
/// # Safety
/// `portal` is open and SPI connected.
unsafe fn fetch(portal: pg_sys::Portal) -> Option<(*mut pg_sys::SPITupleTable, usize)> {
    // SAFETY: promised by the caller.
    unsafe {
        pg_sys::SPI_cursor_fetch(portal, true, BATCH);
        let fetched = pg_sys::SPI_processed as usize;
        (fetched > 0).then_some((pg_sys::SPI_tuptable, fetched))
    }
}

/// # Safety
/// `plan` was just prepared and SPI is connected.
unsafe fn check_is_one_select(plan: pg_sys::SPIPlanPtr) -> Result<(), Error> {
    // SAFETY: the lists and their members live as long as the plan.
    unsafe {
        if plan.is_null() {
            return Err(Error::NotOneSelect);
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        if sources.is_null() || (*sources).length != 1 {
            return Err(Error::NotOneSelect);
        }
        let source = (*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>();
        if (*source).commandTag != pg_sys::CommandTag::CMDTAG_SELECT
            || !pg_sys::SPI_is_cursor_plan(plan)
        {
            return Err(Error::NotOneSelect);
        }
        let queries = (*source).query_list;
        let query = (*(*queries).elements).ptr_value.cast::<pg_sys::Query>();
        if (*query).hasModifyingCTE || !(*query).rowMarks.is_null() {
            let what = "a statement that writes or locks rows".to_owned();
            return Err(Error::WritesInData { what });
        }
        Ok(())
    }
}

/// Where a wanted column stands in the query's result.
struct Source {
    attribute: i32,
    type_oid: pg_sys::Oid,
    output: pg_sys::Oid,
}

/// # Safety
/// `descriptor` is valid.
unsafe fn match_columns(
    descriptor: pg_sys::TupleDesc,
    columns: &[Column],
    others: Others,
) -> Result<(Vec<Option<Source>>, Vec<Feature>), Error> {
    let mut features = Vec::new();
    let mut sources: Vec<Option<Source>> = columns.iter().map(|_| None).collect();
    let names = || columns.iter().map(|column| column.name);
    // SAFETY: attribute numbers run from 1 to natts.
    unsafe {
        for attribute in 1..=(*descriptor).natts {
            let name = CStr::from_ptr(pg_sys::SPI_fname(descriptor, attribute)).to_string_lossy();
            let Some(index) = columns.iter().position(|column| column.name == name) else {
                if others == Others::Features {
                    let type_oid = pg_sys::SPI_gettypeid(descriptor, attribute);
                    features.push(Feature::new(name.into_owned(), attribute, type_oid)?);
                    continue;
                }
                return Err(Error::UnknownColumn {
                    nearest: nearest(&name, names()),
                    name: name.into_owned(),
                    known: names().collect::<Vec<_>>().join(", "),
                });
            };
            sources[index] = Some(source(descriptor, attribute, &columns[index])?);
        }
    }
    for (column, source) in columns.iter().zip(&sources) {
        if column.required && source.is_none() {
            return Err(Error::MissingColumn {
                name: column.name,
                expected: column.kind.expected(),
            });
        }
    }
    Ok((sources, features))
}

/// Where `column` stands, if it is of a fitting type.
///
/// # Safety
/// `descriptor` is valid and has the attribute.
unsafe fn source(
    descriptor: pg_sys::TupleDesc,
    attribute: i32,
    column: &Column,
) -> Result<Source, Error> {
    // SAFETY: promised by the caller.
    unsafe {
        let type_oid = pg_sys::SPI_gettypeid(descriptor, attribute);
        if !accepts(column.kind, type_oid) {
            return Err(Error::ColumnType {
                name: column.name.to_owned(),
                got: type_name(type_oid),
                expected: column.kind.expected(),
            });
        }
        let mut output = pg_sys::Oid::INVALID;
        let mut is_varlena = false;
        pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena);
        Ok(Source { attribute, type_oid, output })
    }
}

fn accepts(kind: Kind, type_oid: pg_sys::Oid) -> bool {
    use pg_sys::*;
    let integer = matches!(type_oid, INT2OID | INT4OID | INT8OID);
    let text = matches!(type_oid, TEXTOID | VARCHAROID | BPCHAROID | NAMEOID);
    match kind {
        Kind::Bytes => type_oid == BYTEAOID,
        // SAFETY: a look-up in the system caches.
        Kind::Label => integer || text || type_oid == BOOLOID || unsafe { type_is_enum(type_oid) },
        Kind::Id => integer || text || type_oid == UUIDOID,
        Kind::Numbers => type_oid == FLOAT4ARRAYOID,
        Kind::Number => integer || matches!(type_oid, FLOAT4OID | FLOAT8OID | NUMERICOID),
        Kind::Time => {
            matches!(type_oid, DATEOID | TIMESTAMPOID | TIMESTAMPTZOID)
                || accepts(Kind::Number, type_oid)
        }
    }
}

pub fn type_name(type_oid: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'ed C string for any type, also a dropped one.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(type_oid)).to_string_lossy().into_owned() }
}

/// A row of training data. Columns are numbered as in the list that [`read`] was given.
pub struct DataRow<'a> {
    sources: &'a [Option<Source>],
    columns: &'a [Column],
    features: &'a [Feature],
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    number: u64,
    digest: &'a RowsDigest,
}

impl DataRow<'_> {
    /// The row's number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the query has the column.
    pub fn has(&self, column: usize) -> bool {
        self.sources[column].is_some()
    }

    /// Whether a column that the query has is NULL.
    fn is_null(&self, column: usize) -> bool {
        let Some(source) = &self.sources[column] else { return false };
        let mut is_null = false;
        // SAFETY: the tuple and its descriptor are of the batch that is being read.
        unsafe {
            pg_sys::SPI_getbinval(self.tuple, self.descriptor, source.attribute, &mut is_null)
        };
        is_null
    }

    fn value(&self, column: usize) -> Result<Option<(pg_sys::Datum, &Source)>, Error> {
        let Some(source) = &self.sources[column] else { return Ok(None) };
        let mut is_null = false;
        // SAFETY: the tuple and its descriptor are of the batch that is being read.
        let datum = unsafe {
            pg_sys::SPI_getbinval(self.tuple, self.descriptor, source.attribute, &mut is_null)
        };
        if is_null {
            let name = self.columns[column].name;
            return Err(Error::NullInData { name: name.to_owned(), row: self.number });
        }
        Ok(Some((datum, source)))
    }

    fn required(&self, column: usize) -> Result<(pg_sys::Datum, &Source), Error> {
        let missing = || Error::MissingColumn {
            name: self.columns[column].name,
            expected: self.columns[column].kind.expected(),
        };
        self.value(column)?.ok_or_else(missing)
    }

    /// Calls `read` with the bytes of a `bytea`.
    pub fn bytes<T>(&self, column: usize, read: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let (datum, _) = self.required(column)?;
        // SAFETY: the column's type is bytea; only a copy that detoasting made is freed.
        unsafe {
            let toasted: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let plain = pg_sys::pg_detoast_datum_packed(toasted);
            let bytes = pgrx::varlena::varlena_to_byte_slice(plain);
            self.digest.bytes(bytes);
            let result = read(bytes);
            if plain != toasted {
                pg_sys::pfree(plain.cast());
            }
            Ok(result)
        }
    }

    /// Calls `read` with the value as its type prints it.
    pub fn text<T>(&self, column: usize, read: impl FnOnce(&str) -> T) -> Result<T, Error> {
        let (datum, source) = self.required(column)?;
        // SAFETY: the output function belongs to the column's type; its result is freed here.
        unsafe {
            let printed = pg_sys::OidOutputFunctionCall(source.output, datum);
            let text = CStr::from_ptr(printed).to_string_lossy();
            self.digest.text(&text);
            let result = read(&text);
            pg_sys::pfree(printed.cast());
            Ok(result)
        }
    }

    /// Calls `read` with the numbers of a `real[]` and the length of its rows, see
    /// [`array::read_reals`]; with none if the query has no such column.
    pub fn numbers<T>(
        &self,
        column: usize,
        read: impl FnOnce(&[f32], usize) -> T,
    ) -> Result<T, Error> {
        let Some((datum, _)) = self.value(column)? else {
            self.digest.number(None);
            return Ok(read(&[], 1));
        };
        let name = self.columns[column].name;
        // SAFETY: the column's type is real[]; only a copy that detoasting made is freed.
        unsafe {
            let toasted: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let plain = pg_sys::pg_detoast_datum(toasted);
            let result = array::read_reals(plain.cast(), |numbers| {
                let null = Error::NullInData { name: name.to_owned(), row: self.number };
                let (numbers, width) = numbers.ok_or(null)?;
                self.digest.integer(numbers.len() as i64);
                self.digest.integer(width as i64);
                numbers.iter().for_each(|&number| self.digest.number(Some(f64::from(number))));
                Ok(read(numbers, width))
            });
            if plain != toasted {
                pg_sys::pfree(plain.cast());
            }
            result
        }
    }

    /// Calls `read` with an id.
    pub fn id<T>(&self, column: usize, read: impl FnOnce(IdRef) -> T) -> Result<T, Error> {
        let (datum, source) = self.required(column)?;
        match integer(datum, source.type_oid) {
            Some(integer) => {
                self.digest.integer(integer);
                Ok(read(IdRef::Integer(integer)))
            }
            None => self.text(column, |text| read(IdRef::Text(text))),
        }
    }

    /// Calls `each` with what a feature is here: a number, a text, several or nothing.
    pub fn feature(
        &self,
        feature: usize,
        each: &mut dyn FnMut(FeatureValue) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(feature) = self.features.get(feature) else { return Ok(()) };
        let mut is_null = false;
        // SAFETY: the tuple and its descriptor are of the batch that is being read, in which the
        // feature was found.
        unsafe {
            let attribute = feature.attribute;
            let datum = pg_sys::SPI_getbinval(self.tuple, self.descriptor, attribute, &mut is_null);
            if is_null {
                self.digest.number(None);
                return Ok(());
            }
            feature.read(datum, self.digest, each)
        }
    }

    /// A time in days since 1970, infinite ones included.
    pub fn days(&self, column: usize) -> Result<f64, Error> {
        let (datum, source) = self.required(column)?;
        let days = days(datum, source.type_oid);
        self.digest.number(Some(days));
        Ok(days)
    }

    /// A number, or nothing if the query has no such column.
    pub fn number_of(&self, column: usize) -> Result<Option<f64>, Error> {
        let number = self.value(column)?.map(|(datum, source)| number(datum, source.type_oid));
        self.digest.number(number);
        Ok(number)
    }
}

pub fn number(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> f64 {
    if let Some(integer) = integer(datum, type_oid) {
        return integer as f64;
    }
    // SAFETY: `accepts` admitted these types alone; the numeric is converted by PostgreSQL.
    unsafe {
        match type_oid {
            pg_sys::FLOAT4OID => f64::from(f32::from_bits(datum.value() as u32)),
            pg_sys::FLOAT8OID => f64::from_bits(datum.value() as u64),
            _ => {
                let float = pg_sys::OidFunctionCall1Coll(
                    pg_sys::F_FLOAT8_NUMERIC.into(),
                    pg_sys::Oid::INVALID,
                    datum,
                );
                f64::from_bits(float.value() as u64)
            }
        }
    }
}

/// Days since 1970 of what [`Kind::Time`] admits; PostgreSQL counts them from 2000.
fn days(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> f64 {
    const YEAR_2000: f64 = 10_957.0;
    const SECONDS: f64 = 86_400.0;
    match type_oid {
        pg_sys::DATEOID => match datum.value() as i32 {
            i32::MIN => f64::NEG_INFINITY,
            i32::MAX => f64::INFINITY,
            days => f64::from(days) + YEAR_2000,
        },
        pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => match datum.value() as i64 {
            i64::MIN => f64::NEG_INFINITY,
            i64::MAX => f64::INFINITY,
            microseconds => microseconds as f64 / 1e6 / SECONDS + YEAR_2000,
        },
        _ => number(datum, type_oid) / SECONDS,
    }
}

fn integer(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Option<i64> {
    match type_oid {
        pg_sys::INT2OID => Some(i64::from(datum.value() as i16)),
        pg_sys::INT4OID => Some(i64::from(datum.value() as i32)),
        pg_sys::INT8OID => Some(datum.value() as i64),
        _ => None,
    }
}
