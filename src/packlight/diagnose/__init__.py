"""Why a variant lost quality, or did not get faster or smaller."""
