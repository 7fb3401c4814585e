from . import builds as builds
from . import networks as networks
from . import pipeline as pipeline
from . import tracking as tracking
from . import training as training
from . import warm as warm
from .entry import app as app
