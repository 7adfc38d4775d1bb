from .encoding import load_token_encoder as load_token_encoder
from .late_interaction import LateInteractionModel as LateInteractionModel, find as find
from .reading import (
    Reading as Reading,
    is_multi_vector as is_multi_vector,
    read_reading as read_reading,
)
