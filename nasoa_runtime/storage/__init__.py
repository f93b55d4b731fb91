"""S3 and what is kept in it: conditional writes, zoos and what may enter them, the predictors that requests share."""
