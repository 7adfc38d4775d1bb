import os

from tests.machine import VARIABLE, leave_out

# Before any of the libraries is imported that would look.
leave_out(os.environ.get(VARIABLE, ""))
