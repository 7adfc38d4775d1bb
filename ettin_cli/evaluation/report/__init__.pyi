from .page import report_html as report_html
from .reliability import ReliabilityPlot as ReliabilityPlot
