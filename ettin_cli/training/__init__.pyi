from .folder import ModelFolder as ModelFolder
from .mining import (
    Mined as Mined,
    MiningOptions as MiningOptions,
    mine as mine,
)
from .positives import (
    PositiveExamples as PositiveExamples,
    PositiveRow as PositiveRow,
    example_with_positive as example_with_positive,
    judged as judged,
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
