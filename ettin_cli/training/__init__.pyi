from .folder import ModelFolder as ModelFolder
from .mining import (
    Mined as Mined,
    MiningOptions as MiningOptions,
    mine as mine,
)
from .positives import (
    PositiveRow as PositiveRow,
    Sought as Sought,
    example_with_positive as example_with_positive,
    sought_in as sought_in,
    sought_of as sought_of,
    sought_record as sought_record,
)
from .processes import ALONE as ALONE, Processes as Processes, joined_processes as joined_processes
from .progress import Measure as Measure
from .reading import (
    DataRequest as DataRequest,
    read_data as read_data,
    usable_tables as usable_tables,
)
from .recipe import (
    ETTIN as ETTIN,
    LOSSES as LOSSES,
    MSE as MSE,
    RECIPES as RECIPES,
    Recipe as Recipe,
    check_recipe as check_recipe,
)
from .run import (
    Trained as Trained,
    TrainRequest as TrainRequest,
    train as train,
)
