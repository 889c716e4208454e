//! Delimited text with a header: CSV with named columns, and Meta's key-value traces.
//!
//! **CSV.** Columns are found by name, upper or lower case. Each has usual names that are tried in
//! order, and an option that names another one ([`CsvOptions`]); only the key must exist.
//!
//! **Meta** (CacheLib's kvcache traces): `key,op,size,op_count,key_size` and its later form
//! `op_time,key,key_size,op,op_count,size,cache_hits,ttl,…`. A line is `op_count` requests (1
//! without that column, none if it is 0), each of size key size + value size; `GET` and
//! `GET_LEASE` are gets, `SET` and `SET_LEASE` sets, `DELETE` deletes.
//!
//! A key that is a 64-bit number in its shortest form is that number; any other text is hashed.

use super::Request;
use super::blocks::RUN_REQUESTS_MAX;
use super::fields::Fields;
use super::number::{self, TimeUnit};
use super::text::{LineFault, OPERATION_NAMES, Run, operation};
use crate::error::shown;

/// Which columns of a CSV trace to use. A name that is `None` means the usual names, an empty one
/// that the column is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Time of the request; usual names `time`, `timestamp`, `ts`, `op_time`.
    pub time: Option<String>,
    /// Unit of the times; seconds by default.
    pub time_unit: TimeUnit,
    /// The key, the only column that must exist; usual names `key`, `obj_id`, `object_id`, `id`,
    /// `object`.
    pub key: Option<String>,
    /// Size in bytes, 1 without the column; usual names `size`, `obj_size`, `object_size`,
    /// `bytes`.
    pub size: Option<String>,
    /// What a miss costs in microseconds, 0 without the column; usual names `cost_us`, `cost`.
    pub cost: Option<String>,
    /// The operation, a get without the column; usual names `op`, `operation`.
    pub op: Option<String>,
    /// The delimiter, a comma by default.
    pub delimiter: u8,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            time: None,
            time_unit: TimeUnit::Seconds,
            key: None,
            size: None,
            cost: None,
            op: None,
            delimiter: b',',
        }
    }
}

const TIME_NAMES: &[&str] = &["time", "timestamp", "ts", "op_time"];
const KEY_NAMES: &[&str] = &["key", "obj_id", "object_id", "id", "object"];
const SIZE_NAMES: &[&str] = &["size", "obj_size", "object_size", "bytes"];
const COST_NAMES: &[&str] = &["cost_us", "cost"];
const OP_NAMES: &[&str] = &["op", "operation"];

/// A column in use.
struct Column {
    index: usize,
    name: String,
}

/// The columns in use, found in the header.
struct Columns {
    time: Option<Column>,
    key: Column,
    /// Their sum is the size.
    sizes: [Option<Column>; 2],
    cost: Option<Column>,
    op: Option<Column>,
    /// How many requests a line stands for.
    count: Option<Column>,
    /// Fields that a line must have for all of them.
    fields_min: usize,
}

enum Kind {
    Csv(CsvOptions),
    Meta,
}

/// Reads delimited lines by the names in their header.
pub(super) struct Table {
    kind: Kind,
    delimiter: u8,
    time_unit: TimeUnit,
    columns: Option<Columns>,
    fields: Fields,
}

impl Table {
    pub(super) fn csv(options: CsvOptions) -> Self {
        let CsvOptions { delimiter, time_unit, .. } = options;
        let fields = Fields::default();
        Self { kind: Kind::Csv(options), delimiter, time_unit, columns: None, fields }
    }

    pub(super) fn meta() -> Self {
        let (delimiter, time_unit) = (b',', TimeUnit::Seconds);
        Self { kind: Kind::Meta, delimiter, time_unit, columns: None, fields: Fields::default() }
    }

    /// One line; the first is the header.
    pub(super) fn parse(&mut self, line: &[u8]) -> Result<Option<Run>, LineFault> {
        if self.fields.split(line, self.delimiter).is_err() {
            let expected = "every quote closed on its line";
            return Err(LineFault::field("the line", line, expected));
        }
        match &self.columns {
            Some(columns) => self.row(columns, line).map(Some),
            None => {
                self.columns = Some(self.header(line)?);
                Ok(None)
            }
        }
    }

    fn header(&self, line: &[u8]) -> Result<Columns, LineFault> {
        let names: Vec<String> = (0..self.fields.len())
            .filter_map(|index| self.fields.get(line, index))
            .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned())
            .collect();
        let header = Header { names };
        let mut columns = match &self.kind {
            Kind::Csv(options) => Columns {
                time: header.find(options.time.as_deref(), TIME_NAMES)?,
                key: header.require(options.key.as_deref(), KEY_NAMES)?,
                sizes: [header.find(options.size.as_deref(), SIZE_NAMES)?, None],
                cost: header.find(options.cost.as_deref(), COST_NAMES)?,
                op: header.find(options.op.as_deref(), OP_NAMES)?,
                count: None,
                fields_min: 0,
            },
            Kind::Meta => Columns {
                time: header.find(None, &["op_time"])?,
                key: header.require(None, &["key"])?,
                sizes: [Some(header.require(None, &["size"])?), header.find(None, &["key_size"])?],
                cost: None,
                op: Some(header.require(None, &["op"])?),
                count: header.find(None, &["op_count"])?,
                fields_min: 0,
            },
        };
        let used = [&columns.time, &columns.cost, &columns.op, &columns.count];
        let last = used.into_iter().chain(&columns.sizes).flatten().map(|column| column.index);
        columns.fields_min = last.chain([columns.key.index]).max().unwrap_or(0) + 1;
        Ok(columns)
    }

    fn row(&self, columns: &Columns, line: &[u8]) -> Result<Run, LineFault> {
        if self.fields.len() < columns.fields_min {
            let expected = format!("at least {} as in the header", columns.fields_min);
            return Err(LineFault::Missing { have: self.fields.len(), expected });
        }
        let key = self.read(&columns.key, line, ("a key", number::key))?;
        let time_ms = match &columns.time {
            Some(column) => {
                let parse = |text: &[u8]| number::time_ms(text, self.time_unit);
                Some(self.read(column, line, ("a time, such as 12 or 12.5", parse))?)
            }
            None => None,
        };
        let mut size = None;
        for column in columns.sizes.iter().flatten() {
            let bytes = self.read(column, line, ("a whole number of bytes", number::whole_u32))?;
            size = Some(size.unwrap_or(0u32).saturating_add(bytes));
        }
        let mut first = Request::get(time_ms.unwrap_or(0), key, size.unwrap_or(1));
        if let Some(column) = &columns.cost {
            let expected = "a whole number of microseconds";
            first = first.with_cost_us(self.read(column, line, (expected, number::whole_u32))?);
        }
        if let Some(column) = &columns.op {
            first = first.with_operation(self.read(column, line, (OPERATION_NAMES, operation))?);
        }
        let count = match &columns.count {
            Some(column) => self.read(column, line, ("a whole number up to 16777216", run_len))?,
            None => 1,
        };
        Ok(Run { first, timed: time_ms.is_some(), count, key_step: 0 })
    }

    /// The field of `column`, read by the second half of `rule`, which expects the first.
    fn read<T>(
        &self,
        column: &Column,
        line: &[u8],
        rule: (&'static str, impl Fn(&[u8]) -> Option<T>),
    ) -> Result<T, LineFault> {
        let text = self.fields.get(line, column.index).unwrap_or_default();
        let (expected, parse) = rule;
        parse(text).ok_or_else(|| LineFault::field(&column.name, text, expected))
    }
}

fn run_len(text: &[u8]) -> Option<u64> {
    number::whole(text).filter(|&count| count <= RUN_REQUESTS_MAX)
}

/// The names in the header line.
struct Header {
    names: Vec<String>,
}

impl Header {
    /// The column called `given`, or by one of the `usual` names; `None` if there is none or
    /// `given` is empty. A column named by the user must exist.
    fn find(&self, given: Option<&str>, usual: &[&str]) -> Result<Option<Column>, LineFault> {
        match given {
            Some("") => Ok(None),
            Some(name) => match self.position(name) {
                Some(column) => Ok(Some(column)),
                None => Err(self.missing(&format!("{name:?}"))),
            },
            None => Ok(usual.iter().find_map(|name| self.position(name))),
        }
    }

    /// The same for a column that must exist.
    fn require(&self, given: Option<&str>, usual: &[&str]) -> Result<Column, LineFault> {
        match self.find(given, usual)? {
            Some(column) => Ok(column),
            None => Err(self.missing(&usual.join(" or "))),
        }
    }

    fn position(&self, wanted: &str) -> Option<Column> {
        let index = self.names.iter().position(|name| name.eq_ignore_ascii_case(wanted))?;
        Some(Column { index, name: wanted.to_owned() })
    }

    fn missing(&self, wanted: &str) -> LineFault {
        let have = shown(self.names.join(", ").as_bytes());
        let hint = "name it as in csv:PATH?key=NAME, or check the delimiter and that the first \
                    line is a header";
        LineFault::Column { wanted: wanted.to_owned(), have, hint }
    }
}

#[cfg(test)]
mod tests {
    use ostler_abi::hash_bytes;

    use super::super::tests_support::{keys, read_text};
    use super::*;
    use crate::trace::{Format, Operation};

    #[test]
    fn csv_finds_the_usual_names() {
        let text = "Timestamp, obj_id ,obj_size,cost_us,op\n\
                    100.5,7,10,3,get\n\
                    100.75,\"a,b\",4294967296,0,SET\n\
                    101,7,10,0,delete\n";
        let (requests, error) = read_text(Format::Csv(CsvOptions::default()), text);
        assert!(error.is_none(), "{error:?}");
        let expected = [
            Request::get(0, 7, 10).with_cost_us(3),
            Request::get(250, hash_bytes(b"a,b", 0), u32::MAX).with_operation(Operation::Set),
            Request::get(500, 7, 10).with_operation(Operation::Delete),
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn csv_with_nothing_but_a_key() {
        let (requests, error) = read_text(Format::Csv(CsvOptions::default()), "id\n5\n6\n5\n");
        assert!(error.is_none(), "{error:?}");
        let expected = [Request::get(0, 5, 1), Request::get(1, 6, 1), Request::get(2, 5, 1)];
        assert_eq!(requests, expected);
    }

    #[test]
    fn csv_options_name_columns_unit_and_delimiter() {
        let options = CsvOptions {
            time: Some("when".to_owned()),
            time_unit: TimeUnit::Microseconds,
            key: Some("blob".to_owned()),
            size: Some(String::new()),
            delimiter: b';',
            ..CsvOptions::default()
        };
        let text = "size;key;blob;when\n9;x;1;5000\n9;x;2;7999\n";
        let (requests, error) = read_text(Format::Csv(options), text);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(requests, [Request::get(0, 1, 1), Request::get(2, 2, 1)]);
    }

    #[test]
    fn meta_lines_are_repeated_and_sizes_added() {
        let text = "key,op,size,op_count,key_size\n\
                    1668757755,SET,82,1,40\n\
                    1668757755,GET_LEASE,0,3,40\n\
                    5,GET,1,0,1\n\
                    82131353f9ddc8c6,DELETE,0,1,16\n";
        let (requests, error) = read_text(Format::Meta, text);
        assert!(error.is_none(), "{error:?}");
        let get = |time_ms| Request::get(time_ms, 1_668_757_755, 40);
        let expected = [
            Request::get(0, 1_668_757_755, 122).with_operation(Operation::Set),
            get(1),
            get(2),
            get(3),
            Request::get(4, hash_bytes(b"82131353f9ddc8c6", 0), 16)
                .with_operation(Operation::Delete),
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn meta_in_its_later_form_has_times() {
        let text = "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n\
                    604038471,11,48,GET,2,87,1,0,366387042,3003229276\n\
                    604038473,12,67,SET,1,65,0,7200,2777918327,655456894\n";
        let (requests, error) = read_text(Format::Meta, text);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(keys(&requests), [11, 11, 12]);
        let times: Vec<u64> = requests.iter().map(Request::time_ms).collect();
        assert_eq!(times, [0, 0, 2000]);
        assert_eq!(requests[2].size, 132);
    }

    #[test]
    fn bad_tables_name_line_column_and_value() {
        let csv = Format::Csv(CsvOptions::default());
        let named = Format::Csv(CsvOptions { key: Some("k".to_owned()), ..CsvOptions::default() });
        for (format, text, expected) in [
            (csv.clone(), "a,b\n1,2\n", "test: no column key or obj_id or object_id or id or obj"),
            (named, "key\n1\n", "test: no column \"k\" in the header, it has: key; name it as in"),
            (csv.clone(), "key,size\n1,2\n3\n", "test: line 3 has 1 fields, expected at least 2"),
            (csv.clone(), "key,size\n1,big\n", "test: line 2: size is \"big\", expected a whole"),
            (csv.clone(), "key,time\n1,-5\n", "test: line 2: time is \"-5\", expected a time, s"),
            (csv.clone(), "key,op\n1,hit\n", "test: line 2: op is \"hit\", expected an operation"),
            (csv.clone(), "key,size\n,2\n", "test: line 2: key is \"\", expected a key"),
            (csv.clone(), "key\n\"1\n2\n", "test: line 2: the line is \"\\\"1\", expected every"),
            (csv, "key,size\n", "test: the trace is empty; check the path and the format"),
            (Format::Meta, "key,op\n1,GET\n", "test: no column size in the header, it has: key"),
            (
                Format::Meta,
                "key,op,size,op_count\n1,GET,1,99999999\n",
                "test: line 2: op_count is \"99999999\", expected a whole number up to 16777216",
            ),
        ] {
            let found = read_text(format, text).1.expect("an error").to_string();
            assert!(found.starts_with(expected), "{text:?}: {found}");
        }
    }
}
