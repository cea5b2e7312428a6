//! Reading: from the API server or a cache of it to the plain facts that the rules look at. Used by controllers and admission.
