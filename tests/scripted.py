"""A model of which only `predict` is written; the rest of `predictor.Predictor` follows from it."""

import numpy as np

from lgnet.predict import View


class Scripted:
    def predict_same(self, images, camera, boxes, given, file=None):
        return [self.predict(i, camera=camera, boxes=boxes, given=given, file=file) for i in images]

    def find(self, image, camera):
        self.found = self.predict(image, camera=camera)
        boxes, given, scores = np.zeros((2, 4)), np.zeros(2, bool), np.zeros(2)
        for side, hand in enumerate((self.found.right, self.found.left)):
            if hand is not None:
                boxes[side], given[side], scores[side] = hand.box, True, hand.score
        return View(image, camera, boxes, given, scores)

    def look(self, view, file=None):
        return self.found
