"""Tables as problems: `hardfirst compare homes.csv --targets price:regression,sold:classification`.

How a table is prepared:

- Every column that is not a target is an input, unless it is left out: constant, mostly missing, the rows' numbers, or words
  that are nearly all different. Numbers are clipped far from the others and standardised; a missing number becomes the mean,
  and a column with missing numbers gets a second input that marks them. Dates become their days and their place in the year,
  the week and the day. Words become one input for each of the 50 most frequent, and text the hashes of its letters.
- A hash of a row's inputs assigns it to training, validation or test (60 : 20 : 20), so that equal rows are in the same
  split. Whatever is fitted is fitted to the training rows.
- A regression target is standardised for the loss. Its KPI is R² on the validation split, its error is in the column's
  unit. A classification target has one class for each of its values, words such as NA and None included; its KPI is
  accuracy, or AUC where one class is nearly all. An empty cell is a missing label.
- The network is a multilayer perceptron with 128 and 64 units and a linear head for each target.

The guide is docs/guides/tables.md.
"""

from hardfirst.problems.tables._cells import label_text
from hardfirst.problems.tables._columns import DateColumn, NumberColumn, Scale, WordColumn
from hardfirst.problems.tables._frame import frame_problem, targets_of
from hardfirst.problems.tables._name import TableName, check_format, is_table, relocated, table_name
from hardfirst.problems.tables._problem import digest, load, prepared_in, table_transform
from hardfirst.problems.tables._sharing import read_from
from hardfirst.problems.tables._targets import REGRESSION, TargetColumn
from hardfirst.problems.tables._transform import TableTransform
from hardfirst.problems.tables._trees import tree_kpis

__all__ = [
    "REGRESSION",
    "DateColumn",
    "NumberColumn",
    "Scale",
    "TableName",
    "TableTransform",
    "TargetColumn",
    "WordColumn",
    "check_format",
    "digest",
    "frame_problem",
    "is_table",
    "label_text",
    "load",
    "prepared_in",
    "read_from",
    "relocated",
    "table_name",
    "table_transform",
    "targets_of",
    "tree_kpis",
]
