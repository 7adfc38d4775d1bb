import os

from tests.machine import VARIABLE, leave_out

# Set before any library that reads these is imported.
leave_out(os.environ.get(VARIABLE, ""))
