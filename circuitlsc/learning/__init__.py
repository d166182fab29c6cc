"""Learning: dictionary, sparsity, rate and noise level, in software and in the circuit."""

from circuitlsc.learning.ais import LogLikelihood as LogLikelihood
from circuitlsc.learning.ais import ais_log_likelihood as ais_log_likelihood
from circuitlsc.learning.circuit import CircuitLearner as CircuitLearner
from circuitlsc.learning.classic import ClassicLearner as ClassicLearner
from circuitlsc.learning.classic import ssc_learner as ssc_learner
from circuitlsc.learning.expectation import gibbs_em as gibbs_em
from circuitlsc.learning.history import load_history as load_history
from circuitlsc.learning.history import save_history as save_history
from circuitlsc.learning.learned import Learned as Learned
from circuitlsc.learning.learner import Learner as Learner
from circuitlsc.learning.learner import LearningRun as LearningRun
from circuitlsc.learning.match import Match as Match
from circuitlsc.learning.match import match_atoms as match_atoms
from circuitlsc.learning.memory import Memory as Memory
from circuitlsc.learning.natural import NaturalPatches as NaturalPatches
from circuitlsc.learning.natural import van_hateren as van_hateren
from circuitlsc.learning.source import FromModel as FromModel
from circuitlsc.learning.source import Patches as Patches
from circuitlsc.learning.source import Rows as Rows
from circuitlsc.learning.source import Source as Source
from circuitlsc.learning.stage import Stage as Stage
from circuitlsc.learning.start import overcomplete as overcomplete
from circuitlsc.learning.start import random_weights as random_weights
from circuitlsc.learning.variational import VariationalLearner as VariationalLearner
from circuitlsc.learning.variational import VariationalRun as VariationalRun
