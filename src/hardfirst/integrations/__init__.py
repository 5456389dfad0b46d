"""hardfirst in other libraries' training loops; each module needs its library, and none is imported here."""
