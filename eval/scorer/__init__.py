"""The FCN-8s that scores translations: network, training, file, published weights."""
