from .placement import (
    LOCAL as LOCAL,
    RAY as RAY,
    Placement as Placement,
    check_placement as check_placement,
)
from .records import Records as Records, ranges_of as ranges_of
from .running import one_cluster as one_cluster, run_units as run_units
from .unit_folder import Made as Made, UnitFolder as UnitFolder
from .units import (
    Job as Job,
    Range as Range,
    Receipt as Receipt,
    Unit as Unit,
    Work as Work,
    units_of as units_of,
)
